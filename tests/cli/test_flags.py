"""Flags are the fields of the stages' options: same names, same defaults, one list."""

import inspect
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from img2mv3d.cli import flags
from img2mv3d.cli.flags import COMMON, FLAGS, checked, with_flags
from img2mv3d.errors import UsageError
from img2mv3d.flow.graph import STAGES
from img2mv3d.plans import PLANS, Plan


def homes(options: Any, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for field in fields(options):
        value = getattr(options, field.name)
        found |= homes(value, f"{field.name}.") if is_dataclass(value) else {prefix + field.name}
    return found


def test_every_field_of_the_plan_has_exactly_one_flag() -> None:
    given = [flag.home for flag in FLAGS.values() if flag.home]
    assert sorted(given) == sorted(homes(Plan()))


def test_every_flag_of_a_stage_belongs_to_its_command() -> None:
    for stage in STAGES:
        names = flags.flags_of(stage)
        assert {FLAGS[n].home for n in names} == {f"{stage}.{f.name}" for f in fields(getattr(Plan(), stage))}


def test_the_help_tells_the_standard_default() -> None:
    assert "[20000]" in FLAGS["faces"].text and "[glb]" in FLAGS["format"].text
    assert "as the weights say" in FLAGS["steps"].text


def test_every_preset_lies_inside_of_the_ranges() -> None:
    for plan in PLANS.values():
        for name, flag in FLAGS.items():
            if flag.home:
                value: Any = plan
                for part in flag.home.split("."):
                    value = getattr(value, part)
                checked({name: value})


def test_choices_are_those_that_the_stages_know() -> None:
    from img2mv3d.diffusion.sampler import SOLVERS
    from img2mv3d.mesh.files import READABLE
    from img2mv3d.stages.prepare import REMOVERS

    assert set(flags.SOLVERS) == set(SOLVERS) and flags.REMOVERS == REMOVERS
    assert {f".{name}" for name in flags.FORMATS} <= set(READABLE)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"steps": 0}, "--steps 0: expected 1 to 1000"),
        ({"format": "fbx"}, "--format fbx: expected one of glb, obj, ply, stl, 3mf, usdz"),
        ({"size": "80"}, "--size 80: expected a length with its unit"),
        ({"height": "0.5mm"}, "--height 0.5mm: expected 1mm to 100m"),
        ({"quality": "best"}, "draft, standard, fine"),
        ({"elevation": 120.0}, "--elevation 120.0: expected -89 to 89"),
    ],
)
def test_values_out_of_range_are_refused_in_words(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        checked(given)


def test_lengths_are_millimetres() -> None:
    assert checked({"size": "80mm", "height": None}) == {"size": 80.0}
    assert [checked({"size": t})["size"] for t in ("8 cm", "0.08m", "2in")] == pytest.approx([80, 80, 50.8])


def test_what_was_not_typed_is_left_out() -> None:
    assert checked({"steps": None, "debug": False, "seed": 0}) == {"seed": 0}


def test_flags_join_a_commands_own_parameters() -> None:
    @with_flags("seed", "debug")
    def command(path: str, **more: Any) -> None:
        """Words."""
        assert (path, more) == ("a", {"seed": 3})

    assert list(inspect.signature(command).parameters) == ["path", "seed", "debug"]
    assert command.__doc__ == "Words."
    command(path="a", seed=3)


def test_all_flags_are_in_use() -> None:
    assert set(FLAGS) == {*COMMON, *flags.flags_of(*STAGES), "mask", "back"}
