"""Flags are the fields of the stages' options: same names, same defaults, one list."""

import ast
import inspect
import itertools
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from img2mv3d.cli import flags
from img2mv3d.cli.flags import FLAGS, ONE_PHOTO, command, flags_of, flowing, of_a_run, parse_length, typed_in
from img2mv3d.flow.graph import STAGES
from img2mv3d.plans import PLANS, Plan
from tests.cli.conftest import Run


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
        names = flags_of(stage)
        assert {FLAGS[n].home for n in names} == {f"{stage}.{f.name}" for f in fields(getattr(Plan(), stage))}


def test_the_help_tells_the_standard_default() -> None:
    assert FLAGS["faces"].text.endswith(r"\[default: 20000]") and FLAGS["format"].text.endswith(r"\[default: glb]")
    assert "set by the weights" in FLAGS["steps"].text and "default" not in FLAGS["decode_normals"].text


def test_every_preset_lies_inside_of_the_ranges() -> None:
    for plan in PLANS.values():
        for name, flag in FLAGS.items():
            value: Any = plan
            for part in flag.home.split(".") if flag.home else ():
                value = getattr(value, part)
            if flag.home and value is not None:
                assert not flag.choices or value in flag.choices, name
                assert flag.low is None or flag.low <= value, name
                assert flag.high is None or value <= flag.high, name


def test_choices_are_those_that_the_stages_know() -> None:
    from img2mv3d.diffusion.sampler import SOLVERS
    from img2mv3d.readers.third_party_views import LAYOUTS

    assert set(flags.LAYOUTS) == set(LAYOUTS)
    assert set(flags.SOLVERS) == set(SOLVERS)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--steps", "0"], "invalid value for '--steps': Input should be greater than or equal to 1"),
        (["--format", "fbx"], "'fbx' is not one of 'glb', 'obj', 'ply', 'stl', '3mf', 'usdz'"),
        (["--size", "80"], "invalid value for '--size': 80: expected a length with its unit"),
        (["--height", "0.5mm"], "invalid value for '--height': 0.5mm: expected 1mm to 100m"),
        (["--vram", "much"], "much: expected a size such as 500M or 8G"),
        (["--quality", "best"], "'draft', 'standard', 'fine'"),
        (["--elevation", "120"], "'--elevation'"),
        (["--speed", "9"], "no such option: --speed"),
    ],
)
def test_values_out_of_range_are_one_line_in_our_style(img2mv3d: Run, words: list[str], says: str) -> None:
    result = img2mv3d("run", "photo.png", *words)
    assert result.exit_code == 2 and result.stderr.startswith("error: ") and says in result.stderr
    assert result.stderr.endswith("; see `img2mv3d run --help`\n") and len(result.stderr.splitlines()) == 1


def test_lengths_are_millimetres() -> None:
    assert [parse_length(t) for t in ("80mm", "8 cm", "0.08m", "2in")] == pytest.approx([80, 80, 80, 50.8])


def test_what_was_not_typed_is_left_out() -> None:
    assert typed_in({"steps": None, "debug": False, "seed": 0}) == {"seed": 0}


def test_help_flows_but_where_it_is_laid_out() -> None:
    assert flowing("One\n    two.\n\n    \b\n    a [b]\n      c") == "One two.\n\na \\[b]\n  c"


def test_flags_join_a_commands_own_parameters() -> None:
    app, told = typer.Typer(), []

    @command(app, "seed", "debug")
    def render(path: str, **more: Any) -> None:
        """Words."""
        told.append((path, more))

    (registered,) = app.registered_commands
    assert list(inspect.signature(registered.callback).parameters) == ["path", "seed", "debug"]
    assert registered.help == "Words."
    registered.callback(path="a", seed=3)
    render("b")
    assert told == [("a", {"seed": 3}), ("b", {})]


def test_all_flags_are_in_use() -> None:
    assert set(FLAGS) == {*of_a_run(*ONE_PHOTO), *flags_of("shape", *STAGES)}


def test_every_flag_has_its_panel_and_panels_stand_together() -> None:
    names = of_a_run(*ONE_PHOTO, *flags_of(*STAGES))
    panels = [FLAGS[name].panel for name in names]
    assert [panel for panel, _ in itertools.groupby(panels)] == list(dict.fromkeys(panels))


def test_bodies_of_commands_are_short() -> None:
    """At most 15 lines after the docstring: a command parses, loads, calls, says where."""
    long = []
    for path in Path(flags.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any("command(" in ast.unparse(d) for d in node.decorator_list):
                body = node.body[1:]
                lines = body[-1].end_lineno - body[0].lineno + 1
                long += [f"{path.name}: {node.name} has {lines} lines"] * (lines > 15)
    assert long == []
