"""Many photos on a terminal: a row for each at work, lines above it for those that ended."""

import io
from pathlib import Path
from typing import Any

import pytest

from img2mv3d.cli import board
from img2mv3d.cli.board import Board, Table, board_for

CUP, HAT = Path("in/cup.png"), Path("in/" + "h" * 90 + ".png")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called in tests: pytest sets its own streams after the fixtures."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def drawn(table: Any) -> list[str]:
    """What stands on the terminal now."""
    from rich.console import Console

    sink = io.StringIO()
    Console(file=sink, width=80).print(table._drawn())
    return [line.strip() for line in sink.getvalue().splitlines() if line.strip()]


def test_a_terminal_shows_photo_stage_and_seconds_of_those_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    at_terminal(monkeypatch)
    monkeypatch.setattr(board.time, "monotonic", lambda: 100.0)
    with board_for(5, 2, quiet=False) as table:
        assert isinstance(table, Table)
    table.hear(CUP, None)
    monkeypatch.setattr(board.time, "monotonic", lambda: 107.2)
    table.hear(CUP, ("depth", 0.5))
    table.hear(HAT, None)
    head, _, cup, hat, count = drawn(table)
    assert head.split() == ["photo", "stage", "seconds"]
    assert cup.startswith("cup.png") and "fitting a coarse surface" in cup and cup.endswith("7")
    assert "…" in hat and "starting" in hat and hat.endswith("0") and len(hat) <= 80
    assert count == "0 of 5 done, 3 waiting, 7 s"
    with table.ending(CUP, failed=True):
        pass
    table._drawing.stop()
    assert not any("cup.png" in line for line in drawn(table))
    assert drawn(table)[-1] == "1 of 5 done, 1 of them failed, 3 waiting, 7 s"


def test_lines_about_a_photo_that_ended_stay_above_the_table_and_stdout_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = at_terminal(monkeypatch)
    with board_for(2, 1, quiet=False) as table:
        table.hear(CUP, ("depth", 0.1))
        with table.ending(CUP, failed=False):
            print("out/cup/mesh.glb", flush=True)
            print("[1/2] cup.png: done", file=terminal)
        table.hear(HAT, None)
    assert capsys.readouterr().out == "out/cup/mesh.glb\n"
    _, _, after = terminal.getvalue().partition("[1/2] cup.png: done\n")
    assert after.index("photo") < after.index("\x1b[1A")  # the cursor goes up over its own table alone


def test_elsewhere_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    with board_for(5, 2, quiet=False) as lines:
        assert type(lines) is Board
        lines.hear(CUP, ("depth", 0.5))
    with board_for(5, 1, quiet=False), board_for(5, 2, quiet=True):
        pass
    assert capsys.readouterr().err == "5 photos, 2 at a time; each is told when it is done\n"
