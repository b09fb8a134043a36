"""Rows of the exact-view benchmark of the fit, and its tables as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from img2mv3d.eval.comparison import paired

THIN_SHARE = 0.1  # of the visible surface on thin level plates: what makes a thin-plate object


@dataclass(frozen=True)
class Figures:
    """A field against the truth; what the names mean: `Record`."""

    iou: float
    z_mean: float
    z_median: float
    normal_deg: float
    f_01: float
    f_02: float
    f_05: float
    f_01_seen: float
    f_02_seen: float
    f_01_unseen: float
    f_02_unseen: float
    missing_seen: float
    missing_unseen: float
    closed: bool
    exported_iou: float


# a surface that is not there is wrong by more than the world is wide; its distance is the whole diagonal
NOTHING = Figures(0.0, 9.0, 9.0, 180.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 100.0, 100.0, False, 0.0)


@dataclass(frozen=True, kw_only=True)
class Record(Figures):
    """One method on one object.

    iou: mean of the views' silhouettes. z_mean, z_median: absolute, world units, on pixels that both hit. normal_deg:
    median angle. f_01, f_02, f_05: F-scores at 1, 2 and 5 % of the box diagonal over visible points; _seen and _unseen:
    of the part that one of the six cameras sees, and of the rest; missing_...: mean distance from that part of the
    truth to what was found, % of the diagonal. closed: every edge joins two faces. exported_iou: as iou, of the
    smoothed and simplified mesh that is exported.

    source: "neus", "hull" or "nothing".
    cpu_s, wall_s, peak_mb: of the fit; the peak is what it took on top of what the process held.
    unseen_share, thin_share: of the true visible surface seen by none of the cameras; on thin level plates.
    """

    id: str
    method: str
    source: str
    cpu_s: float
    wall_s: float
    peak_mb: float
    unseen_share: float = 0.0
    thin_share: float = 0.0


def by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Methods in their order, each with its records in order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.method, []).append(record)
    return found


def table(records: Sequence[Record]) -> str:
    """All tables as Markdown: mean / median by method, the surface in two parts, what it costs, paired differences."""
    methods = by_method(records)
    parts = [_columns(methods, columns) for columns in (_SCORES, _PARTS, _COSTS)]
    thin = {m: [r for r in rows if r.thin_share >= THIN_SHARE] for m, rows in methods.items()}
    if any(thin.values()):
        parts.append(f"Objects with {THIN_SHARE:.0%} of their visible surface or more on thin level plates:")
        parts.append(_columns({m: rows for m, rows in thin.items() if rows}, _THIN))
    return "\n\n".join([*parts, _paired_table(methods)]) + "\n"


def load(path: Path) -> list[Record]:
    """Records as `reconstruction.main` wrote them. Raises ValueError when their fields are others than today's."""
    import json

    rows = json.loads(path.read_text(encoding="utf-8"))
    names = {field.name for field in fields(Record)}
    if any(set(row) != names for row in rows):
        raise ValueError(f"{path}: other figures than this version measures; measure again")
    return [Record(**row) for row in rows]


Column = tuple[str, Callable[[list[Record]], str]]


def _pair(name: str, digits: int) -> Callable[[list[Record]], str]:
    def cell(rows: list[Record]) -> str:
        values = [getattr(r, name) for r in rows]
        return f"{np.mean(values):.{digits}f} / {np.median(values):.{digits}f}"

    return cell


def _most(name: str, digits: int) -> Callable[[list[Record]], str]:
    def cell(rows: list[Record]) -> str:
        values = [getattr(r, name) for r in rows]
        return f"{np.mean(values):.{digits}f} ({np.quantile(values, 0.9):.{digits}f}, {max(values):.{digits}f})"

    return cell


def _count(rows: list[Record]) -> str:
    return str(len(rows))


def _closed(rows: list[Record]) -> str:
    return str(sum(r.closed for r in rows))


def _fell_back(rows: list[Record]) -> str:
    return str(sum(r.source != "neus" for r in rows)) if any(r.source == "neus" for r in rows) else ""


_SCORES: tuple[Column, ...] = (
    ("objects", _count),
    ("IoU", _pair("iou", 3)),
    ("mean abs z", _pair("z_mean", 4)),
    ("median abs z", _pair("z_median", 4)),
    ("normals, deg", _pair("normal_deg", 1)),
    ("F 0.01", _pair("f_01", 3)),
    ("F 0.02", _pair("f_02", 3)),
    ("F 0.05", _pair("f_05", 3)),
    ("closed", _closed),
    ("fell back", _fell_back),
)
_PARTS: tuple[Column, ...] = (
    ("seen: F 0.01", _pair("f_01_seen", 3)),
    ("seen: F 0.02", _pair("f_02_seen", 3)),
    ("seen: off, % of diagonal", _pair("missing_seen", 2)),
    ("unseen: F 0.01", _pair("f_01_unseen", 3)),
    ("unseen: F 0.02", _pair("f_02_unseen", 3)),
    ("unseen: off, % of diagonal", _pair("missing_unseen", 2)),
)
_COSTS: tuple[Column, ...] = (
    ("exported mesh: IoU", _pair("exported_iou", 3)),
    ("CPU s: mean (p90, max)", _most("cpu_s", 1)),
    ("wall s: mean (p90, max)", _most("wall_s", 1)),
    ("peak MB: mean (p90, max)", _most("peak_mb", 0)),
)
_THIN: tuple[Column, ...] = (
    ("objects", _count),
    ("IoU", _pair("iou", 3)),
    ("F 0.01", _pair("f_01", 3)),
    ("F 0.02", _pair("f_02", 3)),
)
_GAINS = (("f_01", 3), ("f_02", 3), ("f_01_seen", 3), ("f_01_unseen", 3), ("z_mean", 4), ("iou", 3), ("normal_deg", 1))
_AGAINST = (
    ("quick", "hull"),
    ("final", "hull"),
    ("quick", "hull + normals"),
    ("final", "hull + normals"),
    ("final", "quick"),
)


def _columns(methods: dict[str, list[Record]], columns: Sequence[Column]) -> str:
    lines = ["| method | " + " | ".join(title for title, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for method, rows in methods.items():
        lines.append(f"| {method} | " + " | ".join(cell(rows) for _, cell in columns) + " |")
    return "\n".join(lines)


def _paired_table(methods: dict[str, list[Record]]) -> str:
    """Means of differences on the same object with 95 % intervals, and in how many objects F 0.01 is better."""
    titles = [*(name for name, _ in _GAINS), "better in F 0.01", "ratio of z_mean, median"]
    lines = ["| paired | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for better, worse in _AGAINST:
        if better not in methods or worse not in methods:
            continue
        other = {r.id: r for r in methods[worse]}
        rows = [(r, other[r.id]) for r in methods[better] if r.id in other]
        cells = [paired([getattr(a, n) - getattr(b, n) for a, b in rows], digits) for n, digits in _GAINS]
        wins = sum(a.f_01 > b.f_01 for a, b in rows)
        ratio = np.median([a.z_mean / max(b.z_mean, 1e-9) for a, b in rows])
        lines.append(f"| {better} - {worse} | " + " | ".join([*cells, f"{wins} of {len(rows)}", f"{ratio:.2f}"]) + " |")
    return "\n".join(lines)
