"""What version 0.1.0 wrote still opens and goes on: latents, a run's folder, a bundle (tests/golden/0.1.0)."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from img2mv3d.bundles.weights import Bundle, load_bundle
from img2mv3d.flow import runners
from img2mv3d.flow.context import StageContext
from img2mv3d.flow.entry import Source, source_of
from img2mv3d.flow.graph import STAGES
from img2mv3d.geometry.revolution import apply_revolution_prior
from img2mv3d.plans import DepthOptions, ExportOptions, Plan
from img2mv3d.stages import depth
from img2mv3d.values import Latents
from tests.conftest import Workshop

OLD = Path(__file__).parent / "golden" / "0.1.0"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(OLD / "bundle")


def test_latents_open_and_tell_their_revolution_prior(bundle: Bundle) -> None:
    latents = Latents.load(OLD)
    assert latents.color.shape == (6, 4, 8, 8) and latents.seed == 7 and latents.settings["rounded"] == 0.75
    assert bundle.revolution_prior(latents) == 0.75


@pytest.mark.parametrize(("typed", "used"), [(None, 0.75), (0.25, 0.25)])
def test_latents_are_decoded_with_the_prior_that_they_tell_unless_one_is_typed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, typed: float | None, used: float
) -> None:
    shares = []
    monkeypatch.setattr(
        depth,
        "apply_revolution_prior",
        lambda mask, rig, share: shares.append(share) or apply_revolution_prior(mask, rig, share),
    )
    options = DepthOptions(grid=32, effort=0.05, revolution_prior=typed)
    runners.depth(StageContext("depth", options=options, networks=bundle), Latents.load(OLD), given="none")
    assert shares == [used]


def test_latents_of_today_take_the_bundles_prior_if_it_generated_them(bundle: Bundle) -> None:
    made = {**vars(Latents.load(OLD)), "settings": {"solver": "dpmpp"}}
    assert bundle.revolution_prior(Latents(**made)) == 0.75  # "rounded" in its manifest
    assert bundle.revolution_prior(Latents(**made | {"bundle": "another"})) == 0.0
    assert bundle.revolution_prior(Latents(**made | {"settings": {"origin": "encoded from pictures"}})) == 0.0


def test_every_network_of_a_bundle_is_built_and_loaded(bundle: Bundle) -> None:
    bundle.check()
    assert set(bundle.parts()) == {"encoder", "plain_decoder", "crossview_decoder", "tokens", "unet"}
    assert all(torch.count_nonzero(p) == 0 for p in bundle.crossview_decoder().parameters())
    assert bundle.generator().steps == 2


def test_a_run_goes_on_and_only_what_follows_is_redone(workshop: Workshop) -> None:
    out = workshop.folder / "old"
    shutil.copytree(OLD / "run", out)
    plan = Plan(export=ExportOptions(faces=700))
    workshop.run(Source("run", out), plan, out)
    assert workshop.runners.calls == {"export": 1}
    assert [workshop.told.how[stage] for stage in STAGES] == ["kept"] * 5 + ["computed"]


def test_a_run_begins_again_at_any_of_its_files(workshop: Workshop) -> None:
    kinds = {"latents.pt": "latents", "depth.npz": "depth", "views": "views", "surface.npz": "surface", "": "run"}
    assert {name: source_of(OLD / "run" / name).kind for name in kinds} == kinds
    workshop.run(source_of(OLD / "run" / "latents.pt"), out=workshop.folder / "new")
    assert workshop.runners.calls == {"depth": 1, "decode": 1, "reconstruct": 1, "export": 1}
    assert np.load(workshop.folder / "new" / "surface.npz")["sdf"].shape == (8, 8, 8)
