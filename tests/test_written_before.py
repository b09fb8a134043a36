"""What version 0.1.0 wrote still opens and goes on: latents, a run's folder, a bundle (tests/golden/0.1.0); what was
typed then still means the same, and what reads its JSON still finds its keys."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.main import get_command
from typer.testing import CliRunner

from img2mv3d.bundles.weights import Bundle, load_bundle
from img2mv3d.cli import measuring
from img2mv3d.cli.app import app
from img2mv3d.cli.seeds import Choice, Plausibility, agreed
from img2mv3d.eval import FORMER_CONDITIONS
from img2mv3d.eval.comparison import FORMER_KEYS, FORMER_METHODS, load_rows
from img2mv3d.flow import runners
from img2mv3d.flow.context import StageContext
from img2mv3d.flow.entry import Source, source_of
from img2mv3d.flow.graph import STAGES
from img2mv3d.geometry.agreement import Agreement
from img2mv3d.geometry.revolution import apply_revolution_prior
from img2mv3d.mesh.health import FORMER, check
from img2mv3d.nets.crossview import RETIRED, CrossViewConfig
from img2mv3d.plans import DepthOptions, ExportOptions, Plan
from img2mv3d.stages import depth
from img2mv3d.train import crossview_decoder as crossview
from img2mv3d.train import recipes
from img2mv3d.values import Latents
from tests.balls import ball
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


# ------------------------------------------------------------------------------------------------------ what was typed

RENAMED = {
    ("eval consistency", "--arm"): "--method",
    ("eval consistency", "--setting"): "--condition",
    ("eval protocol", "--arm"): "--method",
    ("train decoder", "--variant"): "",  # the one variant that was shipped is what is trained
}
MOVED = {  # to experiments/
    *("data fits --bundle", "data fits --debug", "data fits --limit"),
    *("eval consistency --more", "eval consistency --soften", "eval consistency --zooms"),
}


def options(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """("train decoder", option) of all commands."""
    for sub, inner in getattr(command, "commands", {}).items():
        yield from options(inner, f"{name} {sub}".strip())
    yield from ((name, p) for p in command.params if p.param_type_name == "option")


def test_every_flag_is_still_one_or_has_moved_out_of_the_package() -> None:
    today = {f"{name} {word}" for name, option in options(get_command(app)) for word in option.opts}
    assert set((OLD / "flags.txt").read_text().split("\n")) - {""} - today == MOVED


def test_flags_that_are_only_kept_for_what_was_typed_before_are_hidden_and_listed_here() -> None:
    hidden = {(name, word) for name, option in options(get_command(app)) if option.hidden for word in option.opts}
    assert hidden == set(RENAMED)


def typed(*words: object) -> None:
    """A command that must end well without a word about its flags."""
    result = CliRunner().invoke(app, [str(word) for word in words], prog_name="img2mv3d")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""


@pytest.mark.parametrize(("flag", "value"), [("--arm", "a=b"), ("--method", "a=b")])
@pytest.mark.parametrize("command", [("consistency",), ("protocol", "gso30")])
def test_methods_may_be_called_arms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], flag: str, value: str
) -> None:
    asked: list[Any] = []
    (tmp_path / "index.tsv").touch()
    monkeypatch.setattr(measuring, command[0], lambda *told: asked.extend(told))
    typed("eval", *command, tmp_path, flag, value)
    assert ["a=b"] in asked


@pytest.mark.parametrize(
    ("flag", "word", "meant"),
    [
        *(("--setting", former, today) for former, today in FORMER_CONDITIONS.items()),
        *((flag, "generated", "generated") for flag in ("--setting", "--condition")),
    ],
)
def test_conditions_may_be_called_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, word: str, meant: str
) -> None:
    asked: list[Any] = []
    (tmp_path / "index.tsv").touch()
    monkeypatch.setattr(measuring, "consistency", lambda *told: asked.extend(told))
    typed("eval", "consistency", tmp_path, flag, word)
    assert [meant] in asked


def test_the_variant_that_was_shipped_is_what_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.tsv").touch()
    asked: list[Any] = []
    monkeypatch.setattr(recipes, "train_decoder", lambda *words, **told: asked.append(told))
    for words in ((), ("--variant", "rough-outlines")):
        typed("train", "decoder", tmp_path, "-o", tmp_path / "out", "--device", "cpu", *words)
    assert len(asked) == 2 and asked[0].keys() == asked[1].keys() and asked[0]["seed"] == asked[1]["seed"]
    (tmp_path / "rough-outlines").mkdir()  # the state of such a training is gone on with
    assert crossview.folder_in(tmp_path) == tmp_path / "rough-outlines"


# ------------------------------------------------------------------------------------------------------- keys of files


def test_tables_are_read_by_their_former_columns_and_words(tmp_path: Path) -> None:
    figures = [name for name in FORMER_KEYS if name not in ("setting", "arm")]
    (former,) = FORMER_METHODS
    cells = ["cup", "spoilt", former, *(str(i) for i, _ in enumerate(figures))]
    (tmp_path / "old.tsv").write_text("\t".join(["id", "setting", "arm", *figures]) + "\n" + "\t".join(cells) + "\n")
    (row,) = load_rows(tmp_path / "old.tsv")
    assert (row.id, row.condition, row.method) == ("cup", "perturbed", FORMER_METHODS[former])
    assert row.figures == {FORMER_KEYS[name]: float(i) for i, name in enumerate(figures)}


def test_what_reads_the_json_of_check_finds_its_keys() -> None:
    facts = check(ball()).facts()
    assert len(FORMER) == 6 and all(facts[before] == facts[today] for before, today in FORMER.items())


def test_what_reads_seeds_json_finds_its_keys(tmp_path: Path) -> None:
    tried = Plausibility(0.7, agreed(Agreement(0.1, 0.5, 0.9)))
    (row,) = Choice(3, ((3, tried),), tmp_path).facts()["seeds"]
    assert row["warp_error"] == row["reprojection_error"] == 0.1


def test_a_manifest_may_name_switches_that_every_decoder_had() -> None:
    numbers = CrossViewConfig().to_dict()
    assert CrossViewConfig.from_dict({**numbers, **RETIRED}) == CrossViewConfig.from_dict(numbers)
    with pytest.raises(ValueError, match="carry of an ablation"):
        CrossViewConfig.from_dict({**numbers, "carry": False})
