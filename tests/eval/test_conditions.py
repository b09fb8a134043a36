"""Which renders are held out, and what a decoder is given of them under each condition."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from img2mv3d.data.renders import RenderSet, Sample
from img2mv3d.eval import conditions
from img2mv3d.eval.conditions import held_out_sets, make_case, planned
from img2mv3d.files.contents import encode_normals, to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, render_world
from img2mv3d.values import Depth
from tests.toys import toy_bundle


def ball(size: int = 64) -> Sample:
    color, normal, mask, z = render_world(Sphere(radius=0.5), SIX_VIEWS, size)
    photo = np.concatenate([to_bytes(color[0]), to_bytes(mask[0])[..., None]], -1)
    return Sample(to_bytes(color), to_bytes(mask), encode_normals(normal, mask), z.astype(np.float16), photo, 128)


@pytest.fixture(autouse=True)
def no_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "fit_depth", lambda views, options: Depth(views.mask, views.mask, views))


def test_held_out_objects_come_once_each_and_everyday_ones_first(tmp_path: Path):
    lines = ["id\tpose\tsplit\tsource\tlicence\tweight"]
    lines += ["ship\t0\tval\tx\tCC0\t0.3", "cup\t0\tval\tx\tCC0\t3"]
    lines += ["cup\t1\tval\tx\tCC0\t3", "hat\t0\ttrain\tx\tCC0\t3"]
    (tmp_path / "index.tsv").write_text("\n".join(lines) + "\n")
    assert held_out_sets(RenderSet(tmp_path), 5) == ["cup.0", "ship.0"]
    cases = list(planned(toy_bundle(tmp_path / "toy"), tmp_path, 1, ["generated", "clean"]))
    assert [(c.id, c.condition) for c in cases] == [("cup.0", "clean"), ("cup.0", "generated")]


def test_clean_is_the_truth_and_perturbed_is_not(tmp_path: Path):
    bundle, sample = toy_bundle(tmp_path), ball()
    clean, bad, again = (make_case(bundle, "ball", sample, c) for c in ("clean", "perturbed", "perturbed"))
    assert (clean.depth.z == clean.z).all() and clean.truth.mask.max() == 1
    assert np.abs(bad.latents.color - clean.latents.color).mean() > 0.05
    assert (bad.latents.color == again.latents.color).all() and (bad.photo == clean.photo).all()
    other = make_case(bundle, "cube", sample, "perturbed")
    assert (other.latents.color != bad.latents.color).any()


def test_the_generator_sees_the_photo_alone(tmp_path: Path):
    bundle, sample = toy_bundle(tmp_path), ball()
    blind = replace(sample, color=255 - sample.color)
    one, two = (make_case(bundle, "ball", s, "generated") for s in (sample, blind))
    assert (one.latents.color == two.latents.color).all() and (one.depth.z == two.depth.z).all()
    assert one.normals is not None and (one.photo == sample.photo).all()
