"""Counters: what went how, in plain values and as Prometheus reads it."""

import re

from img2mv3d.flow.counters import Counters, gauge

LINE = re.compile(r'[a-z][a-z0-9_]*(\{[a-z]+="[A-Za-z0-9_-]+"\})? [0-9.e+-]+')


def counted() -> Counters:
    counters = Counters()
    counters.well({"prepare": {"how": "cached", "now_seconds": 0.1}, "export": {"how": "computed", "now_seconds": 2.5}})
    counters.well({"prepare": {"how": "kept"}, "export": {"how": "cached"}})
    counters.failed["PhotoError"] += 1
    counters.lost["node"] += 2
    return counters


def test_cached_is_a_photo_of_which_nothing_was_computed() -> None:
    told = counted().plain()
    assert told == {
        "done": 2,
        "cached": 1,
        "failed": {"PhotoError": 1},
        "lost": {"node": 2},
        "stage_seconds": {"export": 2.5},
    }


def test_prometheus_can_read_it() -> None:
    text = counted().prometheus() + gauge("queue", "Runs that wait.", 3)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines)
    assert 'img2mv3d_stage_seconds_total{stage="export"} 2.5' in lines and "img2mv3d_queue 3" in lines
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {re.split(r"[{ ]", line)[0] for line in lines} <= named


def test_a_thousand_photos_are_no_more_lines() -> None:
    counters = Counters()
    for _ in range(1000):
        counters.well({"export": {"how": "computed", "seconds": 1.0}})
    assert len(counters.prometheus().splitlines()) == len(Counters(seconds=counters.seconds).prometheus().splitlines())
