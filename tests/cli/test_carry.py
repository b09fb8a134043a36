"""Plans out of presets, what a run was made with, and what was typed."""

from dataclasses import replace
from pathlib import Path

import pytest

from img2mv3d.cli.carry import plan_of, recorded_plan, with_photos
from img2mv3d.errors import UsageError
from img2mv3d.files.durable import sealed
from img2mv3d.flow.entry import Source, source_of
from img2mv3d.plans import PLANS, STANDARD, ExportOptions, Plan, ShapeOptions
from tests.conftest import Workshop

PHOTO = Source("photo", Path("photo.png"))


def test_nothing_typed_is_the_standard_plan() -> None:
    assert plan_of({}, PHOTO) == STANDARD


def test_what_was_typed_goes_before_the_preset() -> None:
    plan = plan_of({"quality": "draft", "texture_size": 64, "seed": 9, "depth_grid": 40}, PHOTO)
    draft = PLANS["draft"]
    assert plan == replace(
        draft, seed=9, export=replace(draft.export, texture_size=64), depth=replace(draft.depth, grid=40)
    )


def test_a_runs_own_settings_are_taken_up_again(workshop: Workshop) -> None:
    plan = Plan(seed=3, bundle="other")
    workshop.run(plan=replace(plan, export=ExportOptions(faces=777), device="cpu"), until="decode")
    assert recorded_plan(source_of(workshop.out)) == plan  # not the mesh file's, not the machine's
    assert recorded_plan(source_of(workshop.out / "latents.pt")) == plan
    assert plan_of({"faces": 5000}, source_of(workshop.out)).export.faces == 5000
    assert recorded_plan(Source("photo", workshop.out / "subject.png")) == STANDARD
    (workshop.out / "run.json").write_text("broken")
    assert recorded_plan(source_of(workshop.out)) == STANDARD


def test_size_and_height_take_each_others_place() -> None:
    source = Source("photo", Path("none.png"))
    assert plan_of({"size": 80.0}, source).export.size_mm == 80.0
    with pytest.raises(UsageError, match="give one of them"):
        plan_of({"size": 80.0, "height": 50.0}, source)


@pytest.mark.parametrize("other", [{"size": 80.0}, {"height": 50.0}, {"depth_ratio": 0.4}])
def test_a_data_sheets_numbers_give_depth_and_height_and_stand_alone(other: dict[str, float]) -> None:
    plan = plan_of({"box": (120.0, 95.0, 80.0)}, PHOTO)
    assert plan.shape.box_mm == (120.0, 95.0, 80.0) and plan.export.height_mm == 95.0
    with pytest.raises(UsageError, match="--size-mm"):
        plan_of({"box": (120.0, 95.0, 80.0), **other}, PHOTO)


def test_depth_and_front_are_told_beside_each_other() -> None:
    told = {"facing": -30.0, "depth_ratio": 0.4}
    assert plan_of(told, PHOTO).shape == ShapeOptions(depth_ratio=0.4, facing_deg=-30.0)
    assert plan_of({"box": (120.0, 95.0, 80.0), "facing": 20.0}, PHOTO).shape.facing_deg == 20.0


def test_masks_and_backs_go_with_a_photo() -> None:
    typed = {"mask": Path("mask.png"), "back": Path("back.png")}
    assert with_photos(PHOTO, typed) == replace(PHOTO, mask=Path("mask.png"), back=Path("back.png"))
    with pytest.raises(UsageError, match="--back needs a photo"):
        with_photos(Source("run", Path("out")), typed)


def test_settings_of_another_kind_say_nothing(tmp_path: Path) -> None:
    """A record that a disk or a hand changed is read as far as it can be."""
    odd = {"bundle": 2**31, "seed": True, "shape": {"depth_ratio": "x", "box_mm": [1, 2.5, 3]}, "depth": {"grid": 0.5}}
    (tmp_path / "run.json").write_bytes(sealed({"format": "img2mv3d-run/1", "settings": odd}))
    plan = recorded_plan(Source("run", tmp_path))
    assert plan == replace(STANDARD, shape=ShapeOptions(box_mm=(1.0, 2.5, 3.0)))
