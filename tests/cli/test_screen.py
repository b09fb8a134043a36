"""What is shown: plain lines without a terminal, a live line on one, nothing when quiet."""

import io
import time
from typing import Any

import pytest

from img2mv3d.cli import screen
from img2mv3d.cli.screen import Live, Pace, Plain, Quiet, ended, peak_of, screen_for

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
    ]


def test_quiet_tells_notes_and_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    play(Quiet())
    assert capsys.readouterr().err.splitlines() == ["note: something", "warning: careful"]


def test_a_terminal_gets_a_line_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    shown = screen_for(quiet=False)
    assert isinstance(shown, Live)
    play(shown)
    told = terminal.getvalue()
    assert "2/6 generate: generating six views" in told and "done in 3.0 s" in told
    rows = [line.split() for line in told.splitlines()]
    assert ["generate", "1.5", "computed"] in rows and ["depth", "0.0", "unchanged"] in rows


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
