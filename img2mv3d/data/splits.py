"""Who learns shape, who decides, who judges: lists of ids, committed once and used by every table.

`dev`: twelve real scans, for every choice. `test`: 25 scans and 40 other objects, for final tables, never for a choice.
`unseen`: both, all that is held out elsewhere, and whatever has the shape of one of them (`data.likeness`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.resources import files

from img2mv3d.data.corpus import CATEGORY_WEIGHTS, TRAINABLE_LICENCES, Entry

# How often an object is drawn, by where it comes from: real scans first, then clean everyday shapes.
SOURCE_WEIGHTS = {
    "gso": 4.0,
    "ycb": 4.0,
    "aws": 2.0,
    "contactdb": 2.0,
    "oded": 2.0,
    "basemesh": 2.0,
    "vima": 2.0,
    "sh3d": 2.0,
    "homedecor": 2.0,
}


@cache
def ids(split: str) -> frozenset[str]:
    """The ids of "dev", "test" or "unseen"."""
    text = files("img2mv3d.data").joinpath("splits", f"{split}.txt").read_text(encoding="utf-8")
    return frozenset(text.split())


def learners(entries: list[Entry]) -> list[Entry]:
    """The entries that a shape network may learn from, with their weights; a user's own corpus is taken by its list."""
    unseen = ids("unseen")
    return [
        replace(e, weight=SOURCE_WEIGHTS.get(e.source, CATEGORY_WEIGHTS.get((e.source, e.category), 1.0)))
        for e in entries
        if e.split == "train" and e.id not in unseen and e.licence in TRAINABLE_LICENCES and not e.cutout
    ]
