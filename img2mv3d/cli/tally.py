"""What became of many photos: warnings, failures, counters, and a summary in the order of the list.

In: outcomes as they come. Out: lines, plain values. Of each photo only a few words are kept, so that there may be
100,000 of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from img2mv3d.cli.tasks import Outcome

NAME = "summary.json"
NAMED = 10  # failed photos that the last line names


@dataclass
class Tally:
    """photos: all of them, in their order. counters: None counts nothing."""

    photos: list[Path]
    ended: int = 0
    warned: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    statuses: set[int] = field(default_factory=set)
    rows: list[tuple[int, str, float] | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from img2mv3d.flow.counters import Counters

        self.counters = Counters()
        self.rows = [None] * len(self.photos)

    def add(self, number: int, outcome: Outcome) -> None:
        """The photo of this number has ended."""
        self.ended += 1
        self.rows[number] = (outcome.status, outcome.error or str(outcome.facts.get("result", "")), outcome.seconds)
        if outcome.status:
            self.statuses.add(outcome.status)
            self.counters.failed[outcome.kind] += 1
            return
        self.counters.well(outcome.facts.get("stages", {}))
        for line in outcome.facts.get("warnings", ()):
            self.counts[line] += 1
            if len(named := self.warned.setdefault(line, [])) < 3:
                named.append(outcome.photo.name)

    @property
    def failed(self) -> dict[str, str]:
        """Why, by photo, in the order of the list."""
        told = zip(self.photos, self.rows, strict=True)
        return {str(photo): row[1].removeprefix(f"{photo}: ") for photo, row in told if row is not None and row[0]}

    def warnings(self) -> list[str]:
        """Each once, with the photos that have it."""
        return [f"{listed(names, self.counts[line])}: {line}" for line, names in self.warned.items()]

    def line(self, seconds: float) -> str:
        """The sum, for people."""
        failed, total = list(self.failed), len(self.photos)
        named = f"; failed: {listed(failed[:NAMED], len(failed))}" if failed else ""
        missing = f", {total - self.ended} not begun" if self.ended < total else ""
        return f"{self.ended - len(failed)} of {total} done in {seconds:.1f} s{missing}{named}"

    def summary(self, seconds: float) -> dict[str, Any]:
        """Plain values: counters, and every photo that ended, in the order of the list."""
        photos = []
        for photo, row in zip(self.photos, self.rows, strict=True):
            if row is not None:
                word = "error" if row[0] else "result"
                photos.append({"photo": str(photo), "status": row[0], word: row[1], "seconds": round(row[2], 3)})
        whole = {"total": len(self.photos), "ended": self.ended, "seconds": round(seconds, 3)}
        return whole | {"counters": self.counters.plain(), "photos": photos}


def listed(names: list[str], count: int) -> str:
    """The first names of `count`.

    >>> listed(["a", "b"], 3)
    'a, b and 1 more'
    """
    return ", ".join(names) + (f" and {count - len(names)} more" if count > len(names) else "")
