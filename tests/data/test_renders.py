"""Rendering can be stopped and goes on where it was; readers may read while it runs."""

import numpy as np
import pytest
import trimesh

from img2mv3d.data.corpus import Entry, load_solid
from img2mv3d.data.held_out import HELD_OUT
from img2mv3d.data.renders import RenderSet, render_corpus, schedule, world_vertices
from img2mv3d.data.splits import ids
from img2mv3d.errors import InputError
from img2mv3d.geometry.cameras import SIX_VIEWS, project

HEADER = "id\tpackage\tpath\tlicence\tcategory\tfaces\tvertices\ttextured\tcolour\tcutout\tsplit\tauthor\n"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """(meshes, data): two objects, one of them held out, one more that is broken and three that must not be used: by
    its licence, as a held-out twin of the first, and as one that `data.splits` keeps from every network."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "meshes" / "objects").mkdir(parents=True)
    mesh = trimesh.creation.box((0.6, 0.4, 0.5))
    box = {
        "vertices": mesh.vertices.astype(np.float32),
        "faces": mesh.faces.astype(np.int32),
        "face_rgb": np.full((len(mesh.faces), 3), (200, 60, 30), np.uint8),
    }
    rows = HEADER
    for name, split, licence, faces in (
        ("sh3d-box", "train", "CC0-1.0", 12),
        ("sh3d-held", "val", "CC0-1.0", 13),
        ("sh3d-twin", "val", "CC0-1.0", 12),
        ("sh3d-broken", "train", "CC0-1.0", 14),
        ("stk-gpl", "train", "GPL-3+", 12),
        (min(ids("unseen") - HELD_OUT), "train", "CC0-1.0", 15),
    ):
        rows += f"{name}\tp\tq\t{licence}\tkitchen\t{faces}\t8\tno\tmulti\t0\t{split}\tsomebody\n"
        np.savez(folder / "meshes" / "objects" / f"{name}.npz", **box)
    (folder / "meshes" / "objects" / "sh3d-broken.npz").write_bytes(b"no archive")
    (folder / "meshes" / "manifest.tsv").write_text(rows, encoding="utf-8")
    failed = render_corpus(folder / "meshes", folder / "data", poses=1)
    assert [line.split(":")[0] for line in failed] == ["sh3d-broken.0"]
    return folder / "meshes", folder / "data"


def test_only_what_may_be_learnt_from_is_rendered(rendered):
    data = RenderSet(rendered[1])
    assert data.names("train") == ["sh3d-box.0"] and data.names("val") == ["sh3d-held.0"]
    assert set(data.names()) == {"sh3d-box.0", "sh3d-held.0"}
    assert data.weights("train") == {"sh3d-box.0": 3.0}


def test_a_set_has_the_promised_arrays(rendered):
    sample = RenderSet(rendered[1]).load("sh3d-box.0")
    assert sample.color.shape == sample.normal.shape == (6, 256, 256, 3)
    assert sample.mask.shape == sample.z.shape == (6, 256, 256) and sample.z.dtype == np.float16
    assert {a.dtype for a in (sample.color, sample.mask, sample.normal, sample.photo)} == {np.dtype(np.uint8)}
    assert sample.photo.shape == (256, 256, 4) and 60 <= sample.framing_px <= 176
    assert (sample.z[sample.mask == 0] == 0).all() and (sample.color[sample.mask == 0] == 255).all()
    for mask in sample.mask:  # no view touches its frame
        assert mask[1:-1, 1:-1].any() and not mask[[0, -1]].any() and not mask[:, [0, -1]].any()


def test_going_on_keeps_what_is_there_and_repeats_what_is_missing(rendered):
    meshes, out = rendered
    data = RenderSet(out)
    kept, lost = data.set_path("sh3d-held.0"), data.set_path("sh3d-box.0")
    stamp, before = kept.stat().st_mtime_ns, data.load("sh3d-box.0")
    lost.unlink()
    seen = []
    render_corpus(meshes, out, poses=1, progress=lambda done, total: seen.append((done, total)))
    assert kept.stat().st_mtime_ns == stamp and seen[-1] == (3, 3)
    after = data.load("sh3d-box.0")
    assert np.array_equal(before.color, after.color) and np.array_equal(before.photo, after.photo)
    assert len(data.names()) == 2  # no line twice


def test_an_unfinished_line_and_missing_files_are_handled(rendered, tmp_path):
    (tmp_path / "index.tsv").write_text((rendered[1] / "index.tsv").read_text() + "sh3d-ne", encoding="utf-8")
    assert len(RenderSet(tmp_path).names()) == 2
    for reader in (lambda: RenderSet(tmp_path).load("sh3d-none.0"), lambda: RenderSet(tmp_path / "no").names()):
        with pytest.raises(InputError):
            reader()


def test_latents_come_back_as_written(rendered):
    data = RenderSet(rendered[1])
    rng = np.random.default_rng(0)
    written = {"color": rng.normal(size=(6, 4, 32, 32)), "normal": rng.normal(size=(6, 4, 32, 32))}
    assert data.latents("sh3d-held.0") is None
    data.write_latents("sh3d-held.0", "teacher", **written, photo=rng.normal(size=(4, 32, 32)))
    read = data.latents("sh3d-held.0")
    assert all(np.abs(read[k] - written[k]).max() < 2e-3 and read[k].dtype == np.float32 for k in written)
    data.latents_path("sh3d-held.0").unlink()


def test_useful_sets_come_first_and_none_twice():
    def entry(name: str, split: str) -> Entry:
        return Entry(name, name.split("-")[0], "CC0-1.0", "c", split, False, 1, 1, 1.0)

    entries = [entry(f"sh3d-{i}", "train") for i in range(8)] + [entry(f"0ad-{i}", "train") for i in range(4)]
    entries += [entry("0ad-val", "val")]
    order = [(e.id, pose) for e, pose in schedule(entries, 2, 0)]
    assert len(order) == len(set(order)) == 2 * 8 + 4 + 1
    assert order.index(("0ad-val", 0)) < 3
    assert all(name.startswith("sh3d") for name, pose in order if pose == 1)
    assert {name for name, _ in order[-8:]} == {f"sh3d-{i}" for i in range(8)}


def test_a_set_s_mesh_can_be_put_where_it_was_rendered(rendered):
    meshes, out = rendered
    solid = load_solid(meshes / "objects" / "sh3d-box.npz")
    sample = RenderSet(out).load("sh3d-box.0")
    for i, camera in enumerate(SIX_VIEWS.cameras()):
        uv, _ = project(camera, world_vertices(solid, "sh3d-box.0"))
        rows, columns = np.argwhere(sample.mask[i] >= 128).T
        assert np.abs(uv.max(0) - [columns.max() + 1, rows.max() + 1]).max() < 1
        assert np.abs(uv.min(0) - [columns.min(), rows.min()]).max() < 1
