"""What is shown: plain lines without a terminal, a live line on one, nothing when quiet."""

import io
import re
import time
from pathlib import Path
from typing import Any

import pytest

from img2mv3d.cli import screen
from img2mv3d.cli.screen import Live, Pace, Plain, Quiet, ended, peak_of, screen_for
from img2mv3d.flow.graph import GRAPH

STAGES = {
    "generate": {"how": "computed", "now_seconds": 1.5, "peak_bytes": 0},
    "depth": {"how": "kept", "now_seconds": 0.0, "peak_bytes": 10**9},
}


def play(on: Any) -> None:
    with on:
        on.begin("generate", 2, 6)
        on.progress("generate", 1, 12)
        on.note("something")
        on.end("generate", "computed", 1.5)
        on.end("depth", "kept", 0.0)
    on.warn("careful")
    on.close(STAGES, 3.0)
    on.look(Path("out"))


def test_plain_lines_tell_stage_seconds_notes_and_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    play(Plain())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "[2/6] generate: generating six views ...",
        "note: something",
        "  generate     1.5 s",
        "  depth        unchanged",
        "warning: careful",
        "done in 3.0 s",
        "look at it: img2mv3d view out/",
    ]
    assert err.isascii()


def test_quiet_tells_notes_and_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    play(Quiet())
    assert capsys.readouterr().err.splitlines() == ["note: something", "warning: careful"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called in tests: pytest sets its own streams after the fixtures."""
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return stream


def test_a_terminal_gets_a_table_and_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    shown = screen_for(quiet=False)
    assert isinstance(shown, Live)
    play(shown)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in terminal.getvalue().splitlines()]
    rows = [line.split() for line in lines]
    assert ["generate", "1.5", "computed"] in rows and ["depth", "0.0", "unchanged"] in rows
    assert lines[-2:] == ["done in 3.0 s", "look at it: img2mv3d view out/"]


def test_every_stage_has_a_line_on_a_terminal_and_the_last_one_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    at_terminal(monkeypatch)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(screen.time, "monotonic", lambda: float(next(clock)))
    shown = Live()
    shown.begin("generate", 2, 6)
    shown.end("generate", "computed", 1.5)
    shown.begin("depth", 3, 6)
    shown.progress("depth", 100, 400)
    shown.progress("depth", 200, 400)
    done, moving = (str(line) for line in shown._lines())
    assert done == "✓ generate     1.5 s"
    assert moving.endswith("depth: fitting a coarse surface  ━━━━━━━━━━━━━━ 30 s, about 40 s to go")
    shown.end("generate", "cached", 0.1)  # of another seed
    assert [str(line) for line in shown._lines()] == ["✓ generate     from the cache"]


@pytest.mark.parametrize("stage", GRAPH)
def test_a_moving_line_fits_into_80_columns(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    at_terminal(monkeypatch)
    shown = Live()
    shown.begin(stage, 1, 6)
    shown.progress(stage, 1, 9999)
    shown.progress(stage, 5000, 9999)
    (line,) = shown._lines()
    assert line.cell_len <= 80 and "…" not in str(line)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_drawings_gets_plain_lines(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    at_terminal(monkeypatch)
    monkeypatch.setenv(name, value)
    assert type(screen_for(quiet=False)) is Plain


def test_notes_on_a_terminal_are_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    Live().note("a note whose words go on and on until they have no room on one line of the terminal")
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.getvalue().splitlines()]
    assert len(lines) == 2 and lines[0].endswith("of the") and lines[1] == "terminal"


def test_peak_memory_is_that_of_what_was_computed() -> None:
    assert peak_of(STAGES) == 0
    assert peak_of({**STAGES, "decode": {"how": "computed", "now_seconds": 1.0, "peak_bytes": 7}}) == 7


def test_the_screen_suits_the_place() -> None:
    assert type(screen_for(quiet=True)) is Quiet and type(screen_for(quiet=False)) is Plain


def test_a_long_stage_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(screen, "HEARTBEAT", 0.02)
    with Plain() as shown:
        shown.begin("decode", 4, 6)
        time.sleep(0.3)
    assert "still at work" in capsys.readouterr().err


def test_beats_tell_steps_and_time_to_go() -> None:
    pace = Pace("depth", 0.0)
    assert pace.line(31.0) == "  depth: still at work, 31 s"
    pace = pace.at(1, 41, 40.0)  # 40 s of imports say nothing about the pace
    assert pace.line(41.0) == "  depth: 1 of 41, 41 s"
    assert pace.at(11, 41, 50.0).line(50.0) == "  depth: 11 of 41, 50 s, about 30 s to go"
    assert pace.at(41, 41, 90.0).line(91.0) == "  depth: 41 of 41, 91 s"


def test_every_way_to_a_result_has_its_words() -> None:
    lines = {ended("depth", how, 1.0) for how in ("computed", "cached", "kept", "edited", "given")}
    assert len(lines) == 5
