"""`run --dry-run` says what a run would take, and takes nothing."""

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from img2mv3d.bundles.decoders import choose
from img2mv3d.bundles.forecast import Need
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.cli.app import app
from img2mv3d.cli.dry import asked_of, counted, remembered, shipped
from img2mv3d.flow.graph import STAGES
from img2mv3d.plans import PLANS, STANDARD
from tests.toys import toy_bundle


def test_every_stage_is_foretold_and_nothing_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toy_bundle(tmp_path / "toy")
    words = ["run", "photo.png", "--dry-run", "--bundle", "toy", "--steps", "7", "--vram", "8G"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [*STAGES, "all"] and "7 steps" in lines[2]
    assert all(" s " in line and " GB " in line for line in lines[1:])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["toy"]


def test_a_card_that_is_too_small_is_one_line(tmp_path):
    toy_bundle(tmp_path / "toy")
    words = ["run", "photo.png", "--dry-run", "--bundle", str(tmp_path / "toy"), "--vram", "1k"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 4 and result.stderr.startswith("error: generate needs")


@pytest.mark.parametrize("name", PLANS)
def test_the_counts_of_the_shipped_bundle_are_shipped(name):
    """Building its networks costs several seconds, most of them imports."""
    plan, bundle = PLANS[name], load_bundle("mini")
    asked = asked_of(plan, bundle, choose(plan.decode.decoder, bundle)) | {"cuda": False}
    assert shipped(asked) is not None, "python -m experiments.benches.counts writes them"
    assert shipped(asked | {"asked": [7, None, None]}) is None


def test_new_numbers_in_the_same_networks_need_no_new_counts():
    bundle = load_bundle("mini")
    parts = {name: part | {"sha256": "0" * 64} for name, part in bundle.manifest["parts"].items()}
    other = replace(bundle, manifest=bundle.manifest | {"parts": parts}, digest="1" * 64)
    assert asked_of(STANDARD, other, None) == asked_of(STANDARD, bundle, None)


@pytest.mark.slow
def test_the_shipped_counts_are_what_is_counted():
    bundle = load_bundle("mini")
    decoder = choose(STANDARD.decode.decoder, bundle)
    needs, _ = counted(STANDARD, bundle, decoder)
    assert shipped(asked_of(STANDARD, bundle, decoder) | {"cuda": False})[0] == needs


def test_what_was_counted_once_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("IMG2MV3D_CACHE", str(tmp_path / "cache"))
    need = Need("generate", 1, 2, 3.0, "2 steps")
    found = remembered(("a",), lambda: ([need], 7))
    assert remembered(("a",), lambda: pytest.fail("counted again")) == found == ([need], 7)
    assert remembered(("b",), lambda: ([], 8)) == ([], 8)
    for path in (tmp_path / "cache" / "forecast").iterdir():
        path.write_text("broken")
    assert remembered(("a",), lambda: ([], 9)) == ([], 9)
