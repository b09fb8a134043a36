"""Help pages: panels on a terminal, the same words as plain text elsewhere."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from img2mv3d.cli import help as pages
from img2mv3d.cli.app import app
from img2mv3d.cli.flags import first_sentence
from img2mv3d.cli.lines import draws

PANELS = ("Photo to mesh", "Stage by stage", "Look and check", "Installation and weights", "Train and measure")
BOXES = "╭╮╰╯│─━✓"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def page(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="img2mv3d", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    return result.stdout


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "draws", lambda stream: True)


def test_a_terminal_gets_panels_by_purpose(drawn: None) -> None:
    assert all(f"╭─ {title} ─" in page() for title in PANELS)
    titles = [line.split(" ─")[0].removeprefix("╭─ ") for line in page("run").splitlines() if line.startswith("╭")]
    assert titles[:5] == ["Arguments", "Options", "Run", "Photo", "Body"] and titles[-1] == "Output"


@pytest.mark.parametrize("words", [(), ("run",), ("train",), ("train", "decoder")])
def test_piped_help_is_plain_text(words: tuple[str, ...]) -> None:
    text = page(*words)
    assert not set(BOXES) & set(text) and "\x1b" not in text and "\nOptions:\n" in text


def test_plain_help_keeps_every_line_and_column(monkeypatch: pytest.MonkeyPatch) -> None:
    text = page("run")
    monkeypatch.setattr(pages, "draws", lambda stream: True)
    inside = [line[1:-1].rstrip() for line in page("run").splitlines() if line.startswith("│")]
    assert inside == [line[1:] for line in text[text.index("Arguments:") :].splitlines() if line.startswith("  ")]


def test_no_line_is_wider_than_the_terminal_and_no_word_is_cut(drawn: None) -> None:
    text = page("run")
    assert max(map(len, text.splitlines())) == 80
    words = set(text.replace("│", " ").split())
    assert {"STAGE", "reconstruct,", "export.", "1..64", "draft|standard|fine", "--revolution-prior"} <= words
    assert "bool" not in text and "range" not in text


def test_types_are_named_as_people_type_them() -> None:
    small = typer.Typer(add_completion=False)

    @small.command(cls=pages.Command)
    def render(files: list[Path], many: bool = False, count: int = 1, name: str = "", share: float = 0.5) -> None:
        """Words."""

    told = CliRunner().invoke(small, ["--help"]).stdout
    rows = [line.split() for line in told.splitlines()]
    assert ["--count", "N", "[default:", "1]"] in rows and ["--share", "X", "[default:", "0.5]"] in rows
    assert ["*", "files...", "[required]"] in rows and "<" not in told


def test_checks_of_types_stay_as_they_are() -> None:
    result = CliRunner().invoke(app, ["run", "photo.png", "--jobs", "999"], prog_name="img2mv3d")
    assert result.exit_code == 2 and "--jobs" in result.stderr


def test_lists_of_commands_have_one_sentence_each() -> None:
    assert first_sentence("Make it: mesh.glb. Takes more.\n\nWhy.") == "Make it: mesh.glb."
    assert "Takes latents.pt" not in page() and "Fit the final surface to views: surface.npz." in page()


def commands(group: Any) -> Iterator[Any]:
    for command in getattr(group, "commands", {}).values():
        yield from commands(command)
    if not hasattr(group, "commands"):
        yield group


@pytest.mark.parametrize("command", commands(get_command(app)), ids=lambda command: command.name)
def test_what_is_laid_out_fits_into_80_columns(command: Any) -> None:
    laid_out = [line for part in command.help.split("\n\n") if "\n" in part for line in part.splitlines()]
    assert [line for line in laid_out if len(line) > 78] == []


@pytest.mark.parametrize(
    ("stream", "env", "drawn"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "dumb"}, False),
    ],
)
def test_only_a_terminal_that_wants_it_is_drawn_on(
    monkeypatch: pytest.MonkeyPatch, stream: Any, env: dict[str, str], drawn: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert draws(stream) is drawn
