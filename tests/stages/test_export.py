"""The exported file, read by another program's reader and rendered again, is what the six views show."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.boxes import UprightBox, box_field, off_box
from img2mv3d.geometry.cameras import SIX_VIEWS, Camera, project
from img2mv3d.geometry.sdf import Box, render_world, sample_grid
from img2mv3d.mesh.files import read_mesh, write_mesh
from img2mv3d.mesh.formats import FORMATS
from img2mv3d.mesh.placement import moved
from img2mv3d.mesh.preview import render_mesh
from img2mv3d.mesh.upright import elevation, upright
from img2mv3d.plans import ExportOptions
from img2mv3d.stages.export import export
from img2mv3d.values import Body, Mesh, Surface, Views
from tests.balls import WRITABLE
from tests.lettered import Lettered, letter_image, lettered_block

OPTIONS = ExportOptions(faces=4_000, texture_size=512)


@pytest.fixture(scope="module")
def lettered() -> Lettered:
    return lettered_block()


@pytest.fixture(scope="module")
def meshes(lettered: Lettered) -> dict[str, Mesh]:
    """The block in a format with a texture and in one without."""
    return {
        name: export(
            lettered.surface, lettered.views, lettered.subject, options=replace(OPTIONS, format=name, faces=faces)
        )
        for name, faces in (("glb", 4_000), ("ply", 12_000))
    }


def correlation(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    a, b = a[where] - a[where].mean(0), b[where] - b[where].mean(0)
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


@pytest.mark.parametrize("format", WRITABLE)
def test_the_file_rendered_again_is_the_six_views_and_not_their_mirror_images(
    format: str, lettered: Lettered, meshes: dict[str, Mesh], tmp_path: Path
) -> None:
    path = tmp_path / f"block.{format}"
    rule = FORMATS[format]
    facts = write_mesh(meshes["glb" if rule.texture else "ply"], path)
    mesh = read_mesh(path)
    assert (mesh.texture is None) == (not rule.texture)
    mesh = replace(mesh, vertices=moved(mesh.vertices, np.linalg.inv(facts["file_from_world"])))
    views = lettered.views
    for name, camera, color, mask in zip(SIX_VIEWS.names, SIX_VIEWS.cameras(256), views.color, views.mask, strict=True):
        seen = render_mesh(mesh, camera, 256, style="unlit", samples=1) / 255.0
        inside, truth = seen[..., 3] > 0.5, mask > 0.5
        assert (inside & truth).sum() / (inside | truth).sum() > 0.95, name
        if not rule.colors:  # the tower on one corner tells in four views, the letters in none
            swapped = inside[:, ::-1]
            assert name in ("right", "left") or (swapped & truth).sum() / (swapped | truth).sum() < 0.95, name
            continue
        both = inside & truth
        straight = correlation(seen[..., :3], color, both)
        rows, columns = np.nonzero(truth)
        box = np.zeros_like(truth)
        box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        turned = np.ones_like(color)  # the view mirrored within its own box, so that only the letters tell
        turned[:, columns.min() : columns.max() + 1] = color[:, columns.max() : columns.min() - 1 : -1]
        assert straight > 0.9, (name, straight)
        assert straight > correlation(seen[..., :3], turned, both) + 0.15, name
        assert np.abs(seen[..., :3] - color)[both].mean() < 0.05, name


@pytest.mark.parametrize("view, letter", [(0, "F"), (2, "R"), (3, "B"), (4, "L")])
def test_letters_read_as_they_were_drawn(view: int, letter: str, meshes: dict[str, Mesh]) -> None:
    """Against the drawn letter itself, so that world and renderer cannot be mirrored together."""
    seen = render_mesh(meshes["glb"], SIX_VIEWS.cameras(256)[view], 512, style="unlit", samples=1) / 255.0
    half = 0.42 if letter in "FB" else 0.3
    centre = 256 * (1 + np.array([0.0, 0.1]))
    rows = (centre[1] + 256 * 0.34 * (np.arange(200) / 100 - 0.995)).astype(int)
    columns = (centre[0] + 256 * half * (np.arange(200) / 100 - 0.995)).astype(int)
    side = seen[rows][:, columns, :3]
    drawn, all_of_it = letter_image(letter), np.ones((200, 200), bool)
    as_drawn = correlation(side, drawn, all_of_it)
    assert as_drawn > 0.8
    assert as_drawn > correlation(side, drawn[:, ::-1], all_of_it) + 0.15
    if letter != "B":  # which is nearly its own image upside down
        assert as_drawn > correlation(side, drawn[::-1], all_of_it) + 0.15


def test_notes_say_what_was_checked(meshes: dict[str, Mesh]) -> None:
    notes = meshes["glb"].notes
    assert notes["watertight"] and notes["pieces"] == 1 and notes["pieces_dropped"] == 0
    assert notes["faces"] == len(meshes["glb"].faces) <= OPTIONS.faces
    assert notes["silhouette_iou"]["min"] > 0.95 and set(notes["silhouette_iou"]["views"]) == set(SIX_VIEWS.names)
    assert sum(notes["seen"].values()) == pytest.approx(1, abs=1e-3)
    front = 2 * 0.42 * 2 * 0.34 / (4 * (2 * 0.42 * 0.34 + 2 * 0.3 * 0.34 + 2 * 0.42 * 0.3))  # of the block, about
    assert notes["seen"]["photo"] == pytest.approx(front, abs=0.08)
    assert notes["seen"]["none"] == pytest.approx(0.3, abs=0.08)  # top and bottom
    assert notes["warnings"] == [] and notes["color_shift"]["photo"] == pytest.approx([0, 0, 0], abs=1e-3)


def test_from_the_front_the_mesh_is_the_photo(lettered: Lettered, meshes: dict[str, Mesh]) -> None:
    like = meshes["glb"].notes["likeness"]
    assert like["front_db"] > 30 and like["front_covered"] > 0.95
    bare = export(lettered.surface, lettered.views, None, options=replace(OPTIONS, texture_size=0))
    assert "likeness" not in bare.notes
    blurred = replace(lettered.subject, full=np.roll(lettered.subject.full, 6, axis=1))  # the photo, a little aside
    aside = export(lettered.surface, lettered.views, blurred, options=OPTIONS).notes["likeness"]
    assert aside["front_db"] < like["front_db"] - 5


def test_the_photo_s_own_pixels_lie_on_the_front(lettered: Lettered) -> None:
    """A photo whose letter is painted over, where the front view is not: the photo decides in front only."""
    subject = lettered.subject
    green = subject.full.copy()
    green[..., :3] = [30, 160, 60]
    mesh = export(
        lettered.surface, lettered.views, replace(subject, full=green), options=replace(OPTIONS, texture_size=0)
    )
    front, back = (render_mesh(mesh, SIX_VIEWS.cameras()[i], 64, style="unlit")[38, 33, :3] for i in (0, 3))
    np.testing.assert_allclose(front.astype(int), [30, 160, 60], atol=6)
    assert np.abs(back.astype(int) - [30, 160, 60]).max() > 60


def test_an_edge_of_the_photo_lands_where_the_framing_says(lettered: Lettered) -> None:
    """Half of the photo red, half blue, at framed column 120: the texture changes at world x = 120 / 128 - 1."""
    subject = lettered.subject
    split = subject.full.copy()
    column = round((120 - subject.framing.offset[0]) / subject.framing.scale[0])
    split[:, :column, :3], split[:, column:, :3] = [255, 0, 0], [0, 0, 255]
    mesh = export(lettered.surface, lettered.views, replace(subject, full=split), options=replace(OPTIONS, faces=1_500))
    row = render_mesh(mesh, SIX_VIEWS.cameras()[0], 1024, style="unlit", samples=1)[600, :, :3].astype(int)
    block = np.flatnonzero(row.sum(1) > 0)
    first_blue = next(i for i in block if row[i, 2] > row[i, 0] and i > 350)
    assert first_blue == pytest.approx(120 * 4, abs=3)


def test_same_input_same_bytes(lettered: Lettered, tmp_path: Path) -> None:
    options = replace(OPTIONS, faces=1_000, texture_size=128)
    for name in ("one.glb", "two.glb"):
        mesh = export(lettered.surface, lettered.views, lettered.subject, options=options)
        (tmp_path / name).mkdir()
        write_mesh(mesh, tmp_path / name / "mesh.glb")
    assert (tmp_path / "one.glb" / "mesh.glb").read_bytes() == (tmp_path / "two.glb" / "mesh.glb").read_bytes()


def test_a_surface_that_disagrees_with_the_masks_is_said_in_words(lettered: Lettered) -> None:
    options = replace(OPTIONS, faces=2_000, texture_size=0)
    shrunk = Surface(lettered.surface.sdf + np.float32(0.08))
    notes = export(shrunk, lettered.views, None, options=options).notes
    assert notes["silhouette_iou"]["mean"] < 0.95
    assert any("outlines" in sentence for sentence in notes["warnings"])
    with pytest.raises(NothingFoundError, match="empty"):
        export(Surface(np.ones((16, 16, 16), np.float32)), lettered.views, None, options=options)


@pytest.mark.parametrize("elevation", [0.0, 25.0, -10.0])
def test_a_photo_from_above_is_turned_upright(elevation: float) -> None:
    """What a camera at that elevation sees of an upright world is, turned, that world again."""
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    uv, z = project(Camera.orbit(0.0, elevation), points)
    as_front = np.stack([uv[:, 0] / 128 - 1, 1 - uv[:, 1] / 128, -z], axis=1)  # the front camera's frame is the world
    np.testing.assert_allclose(upright(as_front, elevation), points, atol=1e-9)


def test_what_no_camera_saw_is_told_as_a_share_and_in_words_when_it_is_much() -> None:
    """A flat box: its top and bottom, which six level cameras never see, are most of it."""
    half = (0.5, 0.12, 0.5)
    solid = Box(half=half)
    color, normal, mask, _ = render_world(solid, SIX_VIEWS, 128)
    views = Views(color, normal, mask, SIX_VIEWS)
    notes = export(Surface(sample_grid(solid, 64)), views, None, options=replace(OPTIONS, texture_size=0)).notes
    level, around = 2 * half[0] * half[2], 2 * half[1] * (half[0] + half[2])
    assert notes["seen"]["none"] == pytest.approx(level / (level + around), abs=0.05)
    assert any(f"no picture shows {notes['seen']['none']:.0%} of the surface" in w for w in notes["warnings"])


@pytest.mark.parametrize(
    ("typed", "pitch", "spread", "wanted"),
    [
        (12.0, 30.0, 1.0, (12.0, "user")),  # whoever says it is right
        (0.0, 30.0, 1.0, (0.0, "user")),
        (None, 22.4, 5.0, (22.4, "photo")),
        (None, 22.4, 20.0, (0.0, "default")),  # the network does not know
        (None, 1.5, 1.0, (0.0, "default")),  # level enough
    ],
)
def test_the_elevation_is_the_users_else_the_photos_where_that_is_sure(typed, pitch, spread, wanted) -> None:
    maps = np.zeros((4, 4, 3), np.float32)
    body = Body(np.ones((8, 8, 8), np.float32), maps, maps, 0.5, maps[0, :, :2], pitch, spread)
    assert elevation(typed, body and body.pitch) == wanted
    assert elevation(None, None) == (0.0, "default")


def with_body(lettered: Lettered) -> Body:
    """What a shape network would say of the block; its normals wave where the letter is."""
    side = 128
    normal = np.zeros((side, side, 3), np.float32)
    normal[..., 0] = 0.3 * np.sin(np.arange(side) * 2 * np.pi / 10)
    normal[..., 2] = 1
    maps = np.zeros((64, 64, 3), np.float32)
    ratios = np.stack([np.linspace(-1, 1, 8), np.full(8, 1 / 8)], axis=1).astype(np.float32)
    return Body(lettered.surface.sdf, maps, normal, 0.5, ratios, 0.0, 5.0)


def test_a_recognised_box_has_sharp_edges_unless_a_view_says_otherwise(lettered: Lettered) -> None:
    box = UprightBox(np.array([0.1, 0.0, -0.05]), np.array([0.4, 0.25, 0.3]), np.eye(3)[[0, 2, 1]])
    body, field = replace(with_body(lettered), box=box.numbers), box_field(box, 96)
    dent = np.linalg.norm(
        np.stack(np.meshgrid(*[np.linspace(-1, 1, 96)] * 3, indexing="ij"), -1) - [0.1, 0.3, 0], axis=-1
    )
    for sdf, sharp in ((field, True), (np.maximum(field, 0.2 - dent), False)):
        options = replace(OPTIONS, elevation_deg=0.0)
        mesh = export(Surface(sdf, {}), lettered.views, None, options=options, body=body)
        away = off_box(box, mesh.vertices)
        assert (away.max() < 1e-6) == sharp and mesh.notes["watertight"]
        corners = np.abs(mesh.vertices[:, None] - box.corners()).max(-1).min(0)
        assert (corners.max() < 1e-6) == sharp


def test_levels_of_detail_are_closed_and_look_alike(lettered: Lettered) -> None:
    options = replace(OPTIONS, lod=3, normal_map=True, roughness=0.4, metallic=0.2)
    mesh = export(lettered.surface, lettered.views, lettered.subject, options=options, body=with_body(lettered))
    assert [len(lod.faces) <= 4_000 >> level for level, lod in enumerate(mesh.lods, 1)] == [True, True]
    fine, *coarse = (render_mesh(one, Camera.orbit(30.0, 20.0), 128).astype(int) for one in (mesh, *mesh.lods))
    for lod, picture in zip(mesh.lods, coarse, strict=True):
        assert lod.notes == {"watertight": True, "warnings": []} and lod.texture.shape == mesh.texture.shape
        assert (lod.roughness, lod.metallic) == (0.4, 0.2) and np.abs(lod.normal_map[..., 0] - 128.0).max() > 5
        inside = (picture[..., 3] > 0) & (fine[..., 3] > 0)
        assert np.abs(picture - fine)[inside].mean() < 8
    assert export(lettered.surface, lettered.views, None, options=OPTIONS).lods == ()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"normal_map": True}, ["no normal map: it needs a photo and a body (shape.npz)"]),
        ({"normal_map": True, "texture_size": 0}, ["no normal map: it needs a texture"]),
        ({"format": "ply", "metallic": 1.0}, ["ply files hold no material"]),
        ({"format": "ply"}, []),
        ({"metallic": 1.0, "roughness": 0.2}, []),
    ],
)
def test_what_the_file_cannot_hold_is_told(lettered: Lettered, more: dict[str, object], said: list[str]) -> None:
    options = replace(OPTIONS, faces=1_000, **more)
    mesh = export(lettered.surface, lettered.views, lettered.subject, options=options)
    warnings = [w for w in mesh.notes["warnings"] if "outlines" not in w]
    assert len(warnings) == len(said) and all(w.startswith(s) for w, s in zip(warnings, said, strict=True))
    assert mesh.normal_map is None


GREEN = (0, 255, 0)


def green_texels(mesh: Mesh) -> int:
    """How many texels of the mesh's texture are of the colour that nothing else has."""
    assert mesh.texture is not None
    return int((np.abs(mesh.texture.astype(int) - GREEN).max(-1) < 40).sum())


@pytest.mark.parametrize("name", SIX_VIEWS.names)
def test_what_somebody_painted_on_a_view_is_on_the_mesh_even_before_the_photo(lettered: Lettered, name: str) -> None:
    index = SIX_VIEWS.names.index(name)
    rows, columns = (int(np.median(i)) for i in np.nonzero(lettered.views.mask[index] > 0.5))
    color, painted = lettered.views.color.copy(), np.zeros(lettered.views.mask.shape, bool)
    color[index, rows - 12 : rows + 12, columns - 12 : columns + 12] = np.array(GREEN) / 255
    painted[index, rows - 12 : rows + 12, columns - 12 : columns + 12] = True
    views = replace(lettered.views, color=color, painted=painted)
    mesh = export(lettered.surface, views, lettered.subject, options=OPTIONS)
    plain = export(lettered.surface, lettered.views, lettered.subject, options=OPTIONS)
    assert green_texels(plain) == 0 and green_texels(mesh) > 300
