"""The decode stage: what it takes from where, and what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.errors import DepthError, LatentsError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.mesh.draft import Draft, Maps
from img2mv3d.mesh.enlarge import Fine
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.plans import DecodeOptions
from img2mv3d.stages.decode import decode
from img2mv3d.values import Body, Depth, Latents, Subject, Views

SIDE = 64


@pytest.fixture(scope="module")
def decoder() -> CrossViewDecoder:
    torch.manual_seed(0)
    return CrossViewDecoder(CrossViewConfig((32, 32, 32, 32))).eval()


@pytest.fixture
def given() -> tuple[Latents, Depth]:
    """A sphere with a lopsided photo."""
    rng = np.random.default_rng(0)
    y, x = np.meshgrid(*(np.linspace(-1, 1, SIDE, dtype=np.float32),) * 2, indexing="ij")
    ball = (x**2 + y**2 < 0.4).astype(np.float32)
    z = np.broadcast_to(-np.sqrt(np.clip(0.4 - x**2 - y**2, 0, None)), (6, SIDE, SIDE)).astype(np.float32)
    mask = np.broadcast_to(ball, (6, SIDE, SIDE)).astype(np.float32)
    front = rng.integers(0, 255, (SIDE, SIDE, 4)).astype(np.uint8)
    front[..., 3] = 200 * ball
    normal = np.zeros((6, SIDE, SIDE, 3), np.float32)
    normal[..., 2] = mask
    cells = rng.standard_normal((2, 6, 4, 8, 8)).astype(np.float32)
    latents = Latents(cells[0], cells[1], front, SIX_VIEWS, 144, {"name": "sd", "digest": ""}, "mini", 0)
    color = rng.random((6, SIDE, SIDE, 3)).astype(np.float32)
    return latents, Depth(z * mask, mask, Views(color, normal, mask, SIX_VIEWS, "plain"))


def test_colours_are_new_and_normals_and_masks_those_of_the_plain_views(given, decoder):
    latents, depth = given
    views = decode(latents, depth, decoder=decoder, options=DecodeOptions())
    assert views.origin == "crossview" and views.rig == SIX_VIEWS
    assert views.color.dtype == np.float32 and views.color.min() >= 0 and views.color.max() <= 1
    assert np.array_equal(views.normal, depth.plain.normal)
    assert np.array_equal(views.mask[1:], depth.plain.mask[1:])
    assert np.allclose(views.mask[0], latents.front[..., 3] / 255)
    assert (views.color[views.mask == 0] == 1).all()
    assert not np.allclose(views.color[0], depth.plain.color[0])


def test_what_latents_lose_of_a_draft_is_put_back_where_the_photo_does_not_look(given, decoder, monkeypatch):
    latents, depth = given
    latents = replace(latents, draft=latents.color)  # the denoiser changed nothing
    observed = np.zeros((6, SIDE, SIDE), np.float32)
    observed[0] = 1
    drafted = Draft(Maps(depth.hit, depth.plain.normal, depth.z), depth.plain.color, observed)
    monkeypatch.setattr("img2mv3d.stages.decode.draft", lambda *words: drafted)
    field = np.zeros((8, 8, 8), np.float32)
    body = Body(field, field[..., :3], field[..., :3], 0.5, field[0, :, :2], 0.0, 20.0)
    without = decode(latents, depth, decoder=decoder, options=DecodeOptions())
    views = decode(latents, depth, decoder=decoder, options=DecodeOptions(), body=body)
    inside = views.mask > 0
    assert np.allclose(views.color[1:][inside[1:]], drafted.color[1:][inside[1:]], atol=1e-5)
    assert np.array_equal(views.color[0], without.color[0])
    alone = decode(replace(latents, draft=None), depth, decoder=decoder, options=DecodeOptions(), body=body)
    assert np.array_equal(alone.color, without.color)


def test_larger_views_are_the_same_views_enlarged(given, decoder):
    latents, depth = given
    small, large = (
        decode(latents, depth, decoder=decoder, options=DecodeOptions(resolution=side)) for side in (256, 512)
    )
    assert large.color.shape == (6, 2 * SIDE, 2 * SIDE, 3) and large.mask.shape == large.color.shape[:3]
    assert large.color.min() >= 0 and large.color.max() <= 1 and (large.color[large.mask == 0] == 1).all()
    back = large.color.reshape(6, SIDE, 2, SIDE, 2, 3).mean((2, 4))
    assert np.abs(back - small.color)[small.mask == 1].mean() < 0.02
    length = np.linalg.norm(large.normal, axis=-1)
    assert np.allclose(length[large.mask > 0.7], 1, atol=1e-3) and (length[large.mask < 0.5] == 0).all()
    assert large.warnings == small.warnings and large.rig == small.rig


def test_larger_views_of_a_body_have_the_photos_detail_and_the_bodys_outlines(given, decoder, monkeypatch):
    latents, depth = given
    detail = (np.indices((2 * SIDE, 2 * SIDE)).sum(0) % 2 * 0.2).astype(np.float32)
    mask = np.repeat(np.repeat(depth.hit, 2, 1), 2, 2)
    fine = Fine(mask, np.broadcast_to((detail + 0.4)[..., None], (6, 2 * SIDE, 2 * SIDE, 3)), 0 * mask)
    monkeypatch.setattr("img2mv3d.stages.decode.fine_draft", lambda *words: fine)
    field = np.zeros((8, 8, 8), np.float32)
    body = Body(field, field[..., :3], field[..., :3], 0.5, field[0, :, :2], 0.0, 20.0)
    options = DecodeOptions(decoder="plain", resolution=512)
    even = replace(depth.plain, color=np.full_like(depth.plain.color, 0.5))
    views = decode(latents, replace(depth, plain=even), decoder=decoder, options=options, body=body)
    assert np.array_equal(views.mask, mask)
    inside = np.s_[:, SIDE - 10 : SIDE + 10, SIDE - 10 : SIDE + 10]
    assert np.abs(views.color - (0.4 + detail)[..., None])[inside].max() < 0.01


def test_a_photo_of_the_back_stays_clean_of_what_a_draft_shows_finer(given, decoder, monkeypatch):
    latents, depth = given
    noise = np.random.default_rng(3).random((6, 2 * SIDE, 2 * SIDE, 3)).astype(np.float32)
    mask = np.repeat(np.repeat(depth.hit, 2, 1), 2, 2)
    monkeypatch.setattr("img2mv3d.stages.decode.fine_draft", lambda *words: Fine(mask, noise, 0 * mask))
    field = np.zeros((8, 8, 8), np.float32)
    body = Body(field, field[..., :3], field[..., :3], 0.5, field[0, :, :2], 0.0, 20.0)
    photo = np.full((SIDE, SIDE, 4), (200, 40, 20, 255), np.uint8)
    options = DecodeOptions(decoder="plain", resolution=512)
    told = {"decoder": decoder, "options": options, "body": body}
    views = decode(latents, depth, back=Subject(photo, photo, Framing((1.0, 1.0), (0.0, 0.0), 144)), **told)
    behind = VIEW_NAMES.index("back")
    assert np.abs(views.color[behind] - photo[0, 0, :3] / 255)[views.mask[behind] == 1].max() < 0.01


def test_equal_inputs_give_equal_views(given, decoder):
    first, second = (decode(*given, decoder=decoder, options=DecodeOptions()) for _ in range(2))
    assert np.array_equal(first.color, second.color)


def test_plain_keeps_the_plain_colours(given, decoder):
    latents, depth = given
    views = decode(latents, depth, decoder=decoder, options=DecodeOptions(decoder="plain"))
    inside = views.mask > 0
    assert views.origin == "plain" and np.array_equal(views.color[inside], depth.plain.color[inside])


@pytest.mark.parametrize(("origin", "filled"), [("plain", True), ("files", False)])
def test_what_a_generator_left_unpainted_takes_its_neighbours_colour_and_a_users_picture_stays(
    given, decoder, origin, filled
):
    latents, depth = given
    normal, color = depth.plain.normal.copy(), np.full_like(depth.plain.color, 0.2)
    hole = np.s_[3, 30:34, 30:34]
    normal[hole], color[hole] = 0, 0.9
    views = replace(depth.plain, normal=normal, color=color, origin=origin)
    found = decode(latents, replace(depth, plain=views), decoder=decoder, options=DecodeOptions(decoder="plain"))
    assert np.allclose(found.color[hole], 0.2 if filled else 0.9)


def test_the_front_has_the_photos_outline_unless_a_body_has_one(given, decoder):
    latents, depth = given
    less = depth.plain.mask.copy()
    less[0, : SIDE // 2] = 0
    for origin, wanted in (("plain", latents.front[..., 3] / np.float32(255)), ("body", less[0])):
        views = replace(depth.plain, mask=less, origin=origin)
        found = decode(latents, replace(depth, plain=views), decoder=decoder, options=DecodeOptions(decoder="plain"))
        assert np.allclose(found.mask[0], wanted)


def test_normals_are_decoded_on_demand(given, decoder):
    latents, depth = given
    options = DecodeOptions(decode_normals=True)
    views = decode(latents, depth, decoder=decoder, options=options)
    assert not np.array_equal(views.normal, depth.plain.normal)
    assert np.allclose(np.linalg.norm(views.normal[views.mask > 0.5], axis=-1), 1, atol=1e-3)
    with pytest.raises(LatentsError, match="--decode-normals"):
        decode(replace(latents, normal=None), depth, decoder=decoder, options=options)


def test_views_that_disagree_and_depth_that_is_empty_are_said(given, decoder):
    latents, depth = given
    plain = DecodeOptions(decoder="plain")  # noise does not agree with itself
    assert "disagree by" in decode(latents, depth, decoder=decoder, options=plain).warnings[0]
    empty = replace(depth, z=np.zeros_like(depth.z), hit=np.zeros_like(depth.hit))
    assert "depth is empty" in decode(latents, empty, decoder=decoder, options=DecodeOptions()).warnings[0]
    even = replace(depth, plain=replace(depth.plain, color=np.full_like(depth.plain.color, 0.5)))
    assert decode(latents, even, decoder=decoder, options=plain).warnings == ()


def test_depth_of_other_views_is_refused(given, decoder):
    latents, depth = given
    with pytest.raises(DepthError, match="does not belong to 6 views of 64 px"):
        decode(latents, replace(depth, z=depth.z[:, :32, :32]), decoder=decoder, options=DecodeOptions())
