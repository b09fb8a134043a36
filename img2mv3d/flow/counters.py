"""How many photos went how: done, failed by kind, from the cache, seconds by stage; as JSON and as Prometheus' text.

In: what is known of each photo that ended. Out: plain values, text. Labels are kinds and stages only: an id for each
photo would grow for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COMPUTED = "computed"


@dataclass
class Counters:
    """failed: photos by the kind of the error. cached: photos of which nothing was computed. lost: attempts by what was
    lost ("killed", "memory", "node"). seconds: by stage, of what was computed."""

    done: int = 0
    cached: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)

    def well(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """A photo is done. stages: name to "how" and the seconds that this took ("now_seconds" or "seconds")."""
        self.done += 1
        made = {name: about for name, about in stages.items() if about.get("how") == COMPUTED}
        self.cached += not made
        for name, about in made.items():
            spent = float(about.get("now_seconds", about.get("seconds", 0.0)))
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        seconds = {name: round(value, 3) for name, value in self.seconds.items()}
        counted = {"failed": dict(self.failed), "lost": dict(self.lost), "stage_seconds": seconds}
        return {"done": self.done, "cached": self.cached, **counted}

    def prometheus(self) -> str:
        """Prometheus' text format, version 0.0.4.

        >>> print(Counters(done=2, cached=1).prometheus().splitlines()[2])
        img2mv3d_photos_done_total 2
        """
        told: list[tuple[str, str, str, Mapping[str, int | float]]] = [
            ("photos_done_total", "Photos that became what was wanted.", "", {"": self.done}),
            ("photos_cached_total", "Those of which nothing was computed.", "", {"": self.cached}),
            ("photos_failed_total", "Photos that failed, by kind of error.", "kind", self.failed),
            ("attempts_lost_total", "Attempts that were lost, by what was lost.", "lost", self.lost),
            ("stage_seconds_total", "Seconds of computing, by stage.", "stage", self.seconds),
        ]
        return "".join(_series(name, words, label, values) for name, words, label, values in told)


def gauge(name: str, words: str, value: int | float) -> str:
    """A figure that goes up and down, as Prometheus' text."""
    return _series(name, words, "", {"": value}, "gauge")


def _series(name: str, words: str, label: str, values: Mapping[str, int | float], kind: str = "counter") -> str:
    name = f"img2mv3d_{name}"
    lines = [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
    lines += [f'{name}{{{label}="{key}"}} {value:g}' if label else f"{name} {value:g}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
