"""A user's own photo of the back: its outline is the front's mirror image, its pixels lie on the mesh."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.mesh.preview import render_mesh
from img2mv3d.plans import ExportOptions, PrepareOptions
from img2mv3d.stages.back import back, outline_iou
from img2mv3d.stages.decode import with_back
from img2mv3d.stages.export import behind, export
from img2mv3d.stages.prepare import prepare
from img2mv3d.values import BackSubject, Photo, Subject
from tests.lettered import lettered_block


def cup(side: str, color: tuple[int, int, int] = (200, 80, 40), scale: float = 1.0) -> Photo:
    """A body with a handle on one side, as a photo with transparency."""
    picture = Image.new("RGBA", (round(300 * scale), round(240 * scale)))
    draw = ImageDraw.Draw(picture)
    left = 90 if side == "right" else 110
    draw.rectangle([v * scale for v in (left, 40, left + 100, 200)], fill=(*color, 255))
    x = left + 100 if side == "right" else left - 60
    draw.rectangle([v * scale for v in (x, 80, x + 60, 130)], fill=(*color, 255))
    rgba = np.array(picture)
    return Photo(rgba, True, f"{side}.png")


def cut(photo: Photo) -> Subject:
    return prepare(photo, framing_px=144, options=PrepareOptions())


def test_an_outline_is_its_mirror_image_from_behind_whatever_the_photo_s_size() -> None:
    subject = cut(cup("right"))
    found = back(cut(cup("left", scale=2.5)), subject, "left.png")
    assert isinstance(found, BackSubject) and found.warnings == ()
    assert outline_iou(subject.image, found.image) > 0.97


@pytest.mark.parametrize(("side", "share", "says"), [("right", 1.0, "mirror image"), ("left", 0.4, "straight behind")])
def test_an_outline_that_cannot_belong_to_the_front_is_one_line(side: str, share: float, says: str) -> None:
    other = cup(side)
    other.rgba[round(240 * share) :] = 0
    (line,) = back(cut(other), cut(cup("right")), f"{side}.png").warnings
    assert line.startswith(f"{side}.png: ") and says in line and "\n" not in line


def test_its_pixels_are_the_back_view_s_colours_where_it_covers_them() -> None:
    color = np.zeros((6, 64, 64, 3), np.float32)
    framed = np.zeros((256, 256, 4), np.uint8)
    framed[64:192, 96:200] = [255, 128, 0, 255]
    out = with_back(color, framed, SIX_VIEWS)
    assert (out[3, 16:48, 24:50] == np.float32([1, 128 / 255, 0])).all()
    out[3, 16:48, 24:50] = 0
    assert not out.any()
    tilted = Rig(elevation_deg=(20.0,) * 6)
    assert with_back(color, framed, tilted) is color  # nobody there looks from straight behind


def test_on_the_mesh_the_photo_decides_behind_and_nowhere_else() -> None:
    """A green photo of a block that is lettered on every side."""
    world = lettered_block()
    green = world.subject.full.copy()[:, ::-1]
    green[..., :3] = [30, 160, 60]
    width = green.shape[1]
    framing = world.subject.framing
    mirrored = replace(framing, offset=(256 - width * framing.scale[0] - framing.offset[0], framing.offset[1]))
    photo = BackSubject(world.subject.image[:, ::-1], green, mirrored)
    options = ExportOptions(faces=4_000, texture_size=256)
    plain, painted = (export(world.surface, world.views, world.subject, options=options, back=b) for b in (None, photo))
    for i, name in enumerate(SIX_VIEWS.names):
        before, after = (
            render_mesh(m, SIX_VIEWS.cameras()[i], 64, style="unlit")[28:44, 28:37, :3].astype(int)
            for m in (plain, painted)
        )
        if name == "back":
            np.testing.assert_allclose(after, np.broadcast_to([30, 160, 60], after.shape), atol=8)
        elif name in ("front", "left", "right"):
            assert np.abs(after - before).mean() < 3, name
    assert painted.notes["seen"]["photo"] > plain.notes["seen"]["photo"] + 0.15


def test_straight_behind_is_where_the_back_view_stands() -> None:
    np.testing.assert_allclose(behind(SIX_VIEWS).world_from_cam, SIX_VIEWS.cameras()[3].world_from_cam, atol=1e-12)
