"""Several seeds: tried once each, ordered by how their views agree, shown on a sheet, one of them carried on."""

import json

import numpy as np
import pytest
from PIL import Image

from img2mv3d.flow import runners
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.values import Depth, Latents, Views
from tests.cli.conftest import Run
from tests.conftest import Workshop
from tests.fakes import SIDE


@pytest.fixture
def best_is_two(workshop: Workshop, img2mv3d: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A flat wall in front of every view, whose colours agree best with seed 2, least with seed 0."""

    def depth(context: object, latents: Latents, body: object, given: object) -> Depth:
        workshop.runners.calls["depth"] += 1
        mask = np.zeros((6, SIDE, SIDE), np.float32)
        mask[:, 8:24, 8:24] = 1
        noise = {0: 0.4, 1: 0.2, 2: 0.0, 3: 0.3}[latents.seed]
        grey = 0.5 + noise * np.random.default_rng(0).uniform(-1, 1, (6, SIDE, SIDE, 3))
        views = Views(grey.astype(np.float32), None, mask, SIX_VIEWS, "fake")
        return Depth(np.zeros_like(mask), mask, views)

    monkeypatch.setattr(runners, "depth", depth)
    return img2mv3d


def test_the_seed_whose_views_agree_best_is_carried_on(best_is_two: Run, workshop: Workshop) -> None:
    result = best_is_two("run", "photo.png", "--seeds", 4, "--json")
    told = json.loads(result.stdout)
    assert told["picked"] == 2 and [s["seed"] for s in told["seeds"]] == [2, 1, 3, 0]
    scores = [s["score"] for s in told["seeds"]]
    assert scores == sorted(scores, reverse=True) and scores[0] == pytest.approx(1.0)
    calls = workshop.runners.calls
    assert calls["prepare"] == 1 and calls["generate"] == calls["decode"] == 4 and calls["export"] == 1
    assert json.loads((workshop.out / "run.json").read_text())["seed"] == 2
    assert (workshop.out / "mesh.glb").exists() and (workshop.out / "seeds" / "3" / "views").is_dir()
    again = best_is_two("run", "photo.png", "--seed", 2, "-o", "alone")
    assert again.exit_code == 0
    assert (workshop.folder / "alone" / "mesh.glb").read_bytes() == (workshop.out / "mesh.glb").read_bytes()


def test_the_sheet_has_a_row_for_each(best_is_two: Run, workshop: Workshop) -> None:
    best_is_two("run", "photo.png", "--seeds", 3, "--until", "decode")
    with Image.open(workshop.out / "seeds.png") as sheet:
        assert sheet.size == (6 * 128, 3 * 142)
    told = json.loads((workshop.out / "seeds.json").read_text())
    assert told["picked"] == 2 and told["sheet"] == "seeds.png"


def test_another_one_may_be_taken_and_nothing_is_computed_twice(best_is_two: Run, workshop: Workshop) -> None:
    best_is_two("run", "photo.png", "--seeds", 4)
    before = workshop.runners.calls.copy()
    result = best_is_two("run", "photo.png", "--seeds", 4, "--pick", "1")
    assert result.exit_code == 0, result.output
    assert json.loads((workshop.out / "run.json").read_text())["seed"] == 1
    assert workshop.runners.calls - before == {"reconstruct": 1, "export": 1}


def test_without_a_cache_the_chosen_one_is_not_made_twice(best_is_two: Run, workshop: Workshop) -> None:
    assert best_is_two("run", "photo.png", "--seeds", 3, "--no-cache").exit_code == 0
    assert workshop.runners.calls["generate"] == 3 and workshop.runners.calls["prepare"] == 1
    assert not (workshop.folder / "cache").exists()


def test_every_photo_of_many_has_its_own_choice(best_is_two: Run, workshop: Workshop) -> None:
    (workshop.folder / "second.png").write_bytes(b"another")
    result = best_is_two("run", "photo.png", "second.png", "--seeds", 2)
    assert result.exit_code == 0 and result.stderr.count("seed 1,") == 2, result.stderr
    assert (workshop.out / "second" / "seeds.png").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seeds", "3", "--pick", "9"], "--pick 9: expected auto or one of the seeds 0 to 2"),
        (["--seeds", "3", "--until", "depth"], "it needs --until decode or later"),
        (["--pick", "1"], "--pick needs several --seeds"),
    ],
)
def test_wrong_words_are_status_2(img2mv3d: Run, workshop: Workshop, words: list[str], says: str) -> None:
    result = img2mv3d("run", "photo.png", *words)
    assert result.exit_code == 2 and says in result.stderr and workshop.runners.calls == {}
