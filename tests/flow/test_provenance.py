"""A mesh tells where it comes from, as far as the run knows, and nothing private."""

import json
from pathlib import Path

from img2mv3d.flow.entry import source_of
from img2mv3d.flow.provenance import provenance
from img2mv3d.plans import Plan
from tests.conftest import Workshop


def told(workshop: Workshop, out: Path) -> dict:
    record = json.loads((out / "run.json").read_text())
    return provenance(record, [], {"format": "glb"}, {"surface": "s", "subject": None})


def test_seed_settings_weights_and_digests_are_told(workshop: Workshop) -> None:
    workshop.run(plan=Plan(seed=7))
    found = told(workshop, workshop.out)
    assert found["seed"] == 7 and found["settings"]["depth"]["grid"] == 128
    assert found["weights"] == [{"name": "fake", "digest": "0" * 64, "licence": "CC0-1.0"}]
    assert set(found["digests"]) == {"photo", "surface"} and "by_hand" not in found
    assert "photo.png" not in json.dumps(found) and str(workshop.folder) not in json.dumps(found)


def test_what_the_run_does_not_know_is_not_told(workshop: Workshop) -> None:
    workshop.run(plan=Plan(seed=7))
    second = workshop.folder / "second"
    workshop.run(source_of(workshop.out / "surface.npz"), out=second)
    found = told(workshop, second)
    assert not {"seed", "weights"} & set(found) and set(found["settings"]) == {"export"}
    assert {"decode", "reconstruct"} <= set(found["by_hand"]) and set(found["digests"]) == {"surface"}


def test_it_is_part_of_the_key_and_the_same_every_time(workshop: Workshop) -> None:
    workshop.run()
    before = json.loads((workshop.out / "run.json").read_text())["stages"]["export"]
    workshop.run()
    assert not workshop.runners.calls
    after = json.loads((workshop.out / "run.json").read_text())["stages"]["export"]
    assert before["key"] == after["key"] and before["inputs"]["provenance"]
    record = json.loads((workshop.out / "run.json").read_text())
    edited = provenance(record, ["decode"], {}, {})
    assert edited["by_hand"] == ["decode"] and "decode" not in edited["settings"]
