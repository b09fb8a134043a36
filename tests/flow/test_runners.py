"""Every stage that computes with networks, its networks on a card: the same values, nothing in two places at once.

The card is a pretended one (tests/card.py): no kernel of a real one was run.
"""

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from img2mv3d.bundles.weights import Bundle, load_bundle
from img2mv3d.flow import runners
from img2mv3d.flow.context import StageContext
from img2mv3d.flow.runners import Written
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, sample_grid
from img2mv3d.mesh.files import read_mesh
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.plans import DecodeOptions, ExportOptions, GenerateOptions
from img2mv3d.stages.decode import decode
from img2mv3d.stages.depth import plain_views
from img2mv3d.stages.encode import encode
from img2mv3d.stages.generate import generate
from img2mv3d.values import Depth, Framing, Latents, Mesh, Subject, Surface, Views
from tests import balls
from tests.card import CARD, OnCard, card
from tests.checkpoints import tiny_checkpoint
from tests.toys import toy_bundle

SIDE = 64


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return toy_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def latents() -> Latents:
    """Of 64 px, with half a photo."""
    rng = np.random.default_rng(0)
    cells = rng.standard_normal((2, 6, 4, SIDE // 8, SIDE // 8)).astype(np.float32)
    front = rng.integers(0, 255, (SIDE, SIDE, 4)).astype(np.uint8)
    front[..., 3] = 0
    front[16:48, 20:44, 3] = 255
    return Latents(cells[0], cells[1], front, SIX_VIEWS, 144, {"name": "sd-1.x", "digest": ""}, "toy", 0)


@pytest.fixture
def subject() -> Subject:
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4)).astype(np.uint8)
    image[..., 3] = 0
    image[15:50, 20:42, 3] = 255
    return Subject(image, image, Framing((1.0, 1.0), (0.0, 0.0), 144))


def test_two_places_in_one_operation_are_an_error_and_numpy_is_far_away():
    with card():
        there = torch.ones(3).to(CARD)
        assert isinstance(there * 2 + torch.tensor(1.0), OnCard)
        for mixed in (
            lambda: there + torch.ones(3),
            lambda: torch.ones(3) @ there,
            lambda: torch.stack([there, torch.ones(3)]),
        ):
            with pytest.raises(RuntimeError, match="two devices"):
                mixed()
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()
        assert there.cpu().numpy().tolist() == [1, 1, 1]


def test_encode(bundle: Bundle):
    rng = np.random.default_rng(0)
    mask = np.ones((6, SIDE, SIDE), np.float32)
    color, normal = rng.random((2, 6, SIDE, SIDE, 3)).astype(np.float32)
    views = Views(color, normal / np.linalg.norm(normal, axis=-1, keepdims=True), mask, SIX_VIEWS)
    expected = encode(views, encoder=bundle.encoder(), vae=bundle.vae, bundle="toy")
    with card():
        found = encode(views, encoder=bundle.encoder().to(CARD), vae=bundle.vae, bundle="toy")
    assert np.allclose(found.color, expected.color, atol=1e-6) and np.allclose(found.normal, expected.normal, atol=1e-6)


def test_plain_views(bundle: Bundle, latents: Latents):
    expected = plain_views(latents, decoder=bundle.plain_decoder())
    with card():
        found = plain_views(latents, decoder=bundle.plain_decoder().to(CARD))
    assert np.allclose(found.color, expected.color, atol=1e-6) and np.array_equal(found.mask, expected.mask)


@pytest.mark.parametrize("normals", [False, True])
def test_decode(latents: Latents, normals: bool):
    torch.manual_seed(0)
    net = CrossViewDecoder(CrossViewConfig((32, 32, 32, 32))).eval()
    for part in (*net.front.out, *(block.out for block in net.attention), net.carry.out):
        torch.nn.init.normal_(part.weight, std=0.05)  # else nothing is added to the base
    torch.nn.init.constant_(net.carry.gate, 0.05)
    y, x = np.meshgrid(*(np.linspace(-1, 1, SIDE, dtype=np.float32),) * 2, indexing="ij")
    mask = np.broadcast_to((x**2 + y**2 < 0.4).astype(np.float32), (6, SIDE, SIDE))
    z = -np.sqrt(np.clip(0.4 - x**2 - y**2, 0, None)) * mask
    plain = Views(np.ones((6, SIDE, SIDE, 3), np.float32), np.zeros((6, SIDE, SIDE, 3), np.float32), mask, SIX_VIEWS)
    told = {"options": DecodeOptions(decode_normals=normals)}
    expected = decode(latents, Depth(z, mask, plain), decoder=copy.deepcopy(net), **told)
    with card():
        found = decode(latents, Depth(z, mask, plain), decoder=copy.deepcopy(net).to(CARD), **told)
    assert np.allclose(found.color, expected.color, atol=1e-5) and np.allclose(found.normal, expected.normal, atol=0.02)


def test_each_pass_but_the_first_decodes_by_the_fit_to_the_one_before(
    latents: Latents, monkeypatch: pytest.MonkeyPatch
) -> None:
    ball = sample_grid(Sphere(radius=0.5), 32).astype(np.float32)
    depths, sizes, fitted = [], [], []

    def decoded(latents: Latents, depth: Depth, *, options: DecodeOptions, **told: object) -> Views:
        depths.append(depth)
        sizes.append(options.resolution)
        return replace(depth.plain, color=np.full_like(depth.plain.color, 0.1 * len(depths)))

    def surface(views: Views, **told: object) -> Surface:
        fitted.append(views.color.mean())
        return Surface(ball)

    monkeypatch.setattr("img2mv3d.stages.decode.decode", decoded)
    monkeypatch.setattr("img2mv3d.stages.reconstruct.reconstruct", surface)
    blank = np.zeros((6, SIDE, SIDE), np.float32)
    plain = Views(np.ones((6, SIDE, SIDE, 3), np.float32), None, blank + 1, SIX_VIEWS)
    chosen = SimpleNamespace(space="sd-1.x", name="toy", why="", make=torch.nn.Identity)
    context = StageContext("decode", options=DecodeOptions(passes=3, resolution=512), networks=chosen)
    views = runners.decode(context, latents, Depth(blank, blank, plain))
    assert views.color.mean() == pytest.approx(0.3) and fitted == pytest.approx([0.1, 0.2])
    assert not depths[0].hit.any() and sizes == [256, 256, 512]
    for depth in depths[1:]:
        assert depth.plain is plain and depth.z[0, SIDE // 2, SIDE // 2] == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
@pytest.mark.parametrize("source", ["ours", "published"])
def test_generate(bundle: Bundle, subject: Subject, source: str, precision: torch.dtype, tmp_path: Path):
    chosen = bundle if source == "ours" else load_bundle(tiny_checkpoint(tmp_path / "wonder3d"))
    options = GenerateOptions(steps=2, guidance=2.0)

    def made(nets) -> Latents:
        return generate(subject, generator=nets, options=options, rng=torch.Generator().manual_seed(0), seed=0)

    expected = made(chosen.generator())
    with card():
        found = made(chosen.generator().to(CARD, precision))
    near = 1e-5 if precision == torch.float32 else 0.02 * np.abs(expected.color).max()
    assert np.abs(found.color - expected.color).max() < near
    assert found.color.dtype == np.float32


def test_levels_of_detail_stand_where_the_mesh_stands(tmp_path: Path) -> None:
    ball, small = (Mesh(b.vertices * s, b.faces, b.colors) for b, s in ((balls.ball(), 1.0), (balls.ball(), 0.98)))
    told = replace(small, notes={"watertight": True, "warnings": []})
    mesh = replace(ball, notes={"faces": len(ball.faces)}, lods=(told, told))
    Written(mesh, ExportOptions(format="3mf", height_mm=50.0, lod=3), {"seed": 1}).save(tmp_path)
    names = ["mesh.3mf", "mesh.json", "mesh_lod1.3mf", "mesh_lod2.3mf"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    facts = json.loads((tmp_path / "mesh.json").read_text())
    assert facts["files"] == [n for n in names if n != "mesh.json"]
    assert [(lod["file"], lod["faces"], lod["watertight"], lod["read_back"]) for lod in facts["lods"]] == [
        (f"mesh_lod{i}.3mf", len(ball.faces), True, "equal") for i in (1, 2)
    ]
    high, low = (read_mesh(tmp_path / name).vertices[:, 2] for name in ("mesh.3mf", "mesh_lod1.3mf"))
    assert np.ptp(high) == pytest.approx(50, rel=1e-4)
    assert (low.min(), low.max()) == pytest.approx((0.5, 49.5), rel=1e-3)  # its own height, not 50 mm again
