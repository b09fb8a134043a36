"""The one framework of every table: methods make views or a surface of cases, metrics judge them, rows are compared."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from img2mv3d.errors import NothingFoundError
from img2mv3d.eval import FORMER_CONDITIONS
from img2mv3d.files.durable import write_atomically
from img2mv3d.values import Body, Depth, Latents, Views

NOTHING = float("nan")
TRUTH = "true views"  # the method whose rows are what there is to reach, not a rival
KEYS = ("id", "condition", "method", "made_by")
# names of files that were written before they had those of the field
FORMER_KEYS = {"setting": "condition", "arm": "method", "psnr_others": "psnr_mask", "psnr_whole": "psnr",
               "warp": "reprojection", "agreeing": "inliers", "agreeing_beside": "inliers_beside"}  # fmt: skip
FORMER_METHODS = {"plain, blended": "multi-view blending"}

Mesh = tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "F 3"]]  # vertices in the world, faces


@dataclass(frozen=True, eq=False)
class Case:
    """What a method is given, and the truth beside it.

    id, condition: of the object, and how it is shown ("clean", "perturbed", "generated", or a protocol's name).
    photo: framed, straight alpha.
    truth: the true views. z: of their first surface, world units, 0 outside.
    mesh: the true surface; None where only its views are known.
    latents, depth, normals: for methods that decode: latents, the depth that they may use, normal maps as pictures.
    prior: weight of the revolution prior by which silhouettes are cut out.
    reframed: the photo at another foreground size (px), for models that want one.
    """

    id: str
    condition: str
    photo: UInt8[np.ndarray, "H W 4"]
    truth: Views
    z: Float[np.ndarray, "V H W"]
    mesh: Mesh | None = None
    latents: Latents | None = None
    depth: Depth | None = None
    normals: Float[np.ndarray, "V H W 3"] | None = None
    prior: float = 0.0
    reframed: Callable[[int], UInt8[np.ndarray, "H W 4"]] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Result:
    """What a method made of a case.

    views: cut out by their own silhouettes. pictures: the same over white, not cut out; None: the views' colours.
    mesh: a surface, in the case's world. body: what a surface that is fitted to the views begins with.
    """

    views: Views | None = None
    pictures: Float[np.ndarray, "V H W 3"] | None = None
    mesh: Mesh | None = None
    body: Body | None = None

    @property
    def colors(self) -> Float[np.ndarray, "V H W 3"]:
        """The pictures to compare."""
        assert self.views is not None
        return self.views.color if self.pictures is None else self.pictures


@dataclass(frozen=True)
class Method:
    """A competitor.

    make: its result; None where it has none of this case.
    digest: of its weights or files; figures are made again when it changes.
    """

    make: Callable[[Case], Result | None]
    digest: str = ""


@dataclass(frozen=True)
class Metric:
    """Figures of a result: their names, and the function that measures them."""

    figures: tuple[str, ...]
    measure: Callable[[Case, Result], Mapping[str, float]]


@dataclass(frozen=True)
class Planned:
    """A case that is made only if a figure of it is missing. digest: of all that decides what it shows."""

    id: str
    condition: str
    digest: str
    make: Callable[[], Case]


@dataclass(frozen=True)
class Row:
    """One method on one object under one condition. made_by: digest of case and method, "" where it is not known."""

    id: str
    condition: str
    method: str
    figures: Mapping[str, float]
    made_by: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from every other row."""
        return self.id, self.condition, self.method, self.made_by


def run(
    methods: Mapping[str, Method],
    cases: Iterable[Planned],
    metrics: Sequence[Metric],
    path: Path | None = None,
    report: Callable[[str], None] = print,
) -> list[Row]:
    """All methods on all cases; a surface or views that cannot be had are reported and have no row.

    path: a file of rows; figures in it that are of equal cases and methods are kept, and all others stay in it. It is
    written after every case.
    """
    known = {row.key: row for row in load_rows(path)} if path is not None and path.is_file() else {}
    found: list[Row] = []
    for planned in cases:
        case, made = None, False
        for name, method in methods.items():
            key = (planned.id, planned.condition, name, _digest(planned.digest, method.digest))
            figures = dict(known[key].figures) if key in known else {}
            missing = [m for m in metrics if not set(m.figures) <= set(figures)]
            if missing:
                case = case or planned.make()
                try:
                    with torch.no_grad():
                        result = method.make(case)
                except NothingFoundError as error:
                    report(f"{planned.id}, {name}: {error}")
                    continue
                if result is None:
                    report(f"{planned.id}: nothing of {name}")
                    continue
                for metric in missing:
                    figures |= {n: NOTHING for n in metric.figures} | metric.measure(case, result)
                made = True
            if path is not None:  # as they stand in the file: a table is the same whether its rows were known or not
                figures = {n: float(_figure(value)) for n, value in figures.items()}
            known[key] = Row(*key[:3], figures, key[3])
            found.append(known[key])
        if made and path is not None:
            save_rows(path, list(known.values()))
        report(f"{planned.id}, {planned.condition}" + ("" if made else ": known"))
    return found


def gather(path: Path, parts: Iterable[Path]) -> None:
    """Rows of `parts` into the file at `path`, after what stands there; parts that are not there have none."""
    known = {row.key: row for file in (path, *parts) if file.is_file() for row in load_rows(file)}
    save_rows(path, list(known.values()))


def paired_table(rows: Sequence[Row], against: str, figures: Sequence[str] | None = None) -> str:
    """Markdown by condition: every method's mean, and in brackets its mean paired difference to the method `against`
    with its 95 % interval.

    Objects that some method lacks are left out; of a column also those of which a method has no figure while it has
    some of others. figures: the columns, in their order; None: all. A column without any figure is left out.
    """
    lines = []
    for condition in dict.fromkeys(r.condition for r in rows):
        table: dict[str, dict[str, Row]] = {}
        for row in rows:
            if row.condition == condition:
                table.setdefault(row.method, {})[row.id] = row
        common = sorted(set.intersection(*(set(by_id) for by_id in table.values())))
        names = figures or tuple(dict.fromkeys(n for r in rows if r.condition == condition for n in r.figures))
        values = {n: _comparable(table, common, n) for n in names}
        names = [n for n in names if any(len(v) for v in values[n].values())]
        lines += [f"\n{condition}, {len(common)} objects:\n", f"| method | {' | '.join(names)} |"]
        lines.append("|---" * (len(names) + 1) + "|")
        for method in table:
            cells = [_cell(values[n], method, against, decimals(n)) for n in names]
            lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def interval(gains: Sequence[float] | Float[np.ndarray, " N"]) -> tuple[float, float]:
    """Mean of paired differences and half of its 95 % interval; NaN for fewer than two."""
    gains = np.asarray(gains, np.float64)
    half = 1.96 * gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else NOTHING
    return (float(gains.mean()) if len(gains) else NOTHING), float(half)


def paired(gains: Sequence[float] | Float[np.ndarray, " N"], digits: int = 3) -> str:
    """`interval` in words: mean +- half."""
    mean, half = interval(gains)
    return f"{mean:+.{digits}f} +- {half:.{digits}f}"


def decimals(figure: str) -> int:
    """How many are worth showing."""
    if figure.startswith("f_") or figure.endswith(("ssim", "iou", "features", "chamfer")):
        return 3
    return {"reprojection": 4, "own_reprojection": 4, "matches": 0, "own_matches": 0, "lg_matches": 0}.get(
        figure, 1 if "inliers" in figure or "epipolar" in figure else 2
    )


def save_rows(path: Path, rows: Sequence[Row]) -> None:
    """A line each, tab-separated, figures with five significant digits; replaced at once."""
    names = list(dict.fromkeys(n for row in rows for n in row.figures))
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow([*KEYS, *names])
    for row in rows:
        writer.writerow([*row.key, *(_figure(row.figures[n]) if n in row.figures else "" for n in names)])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.getvalue().encode())


def _figure(value: float) -> str:
    return f"{value:.5g}"


def load_rows(path: Path) -> list[Row]:
    """What `save_rows` wrote; also files of version 0.1.0, whose columns and words were others."""
    import gzip

    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        lines = csv.DictReader(file, delimiter="\t")
        return [_row({FORMER_KEYS.get(k, k): v for k, v in line.items()}) for line in lines]


def _row(cells: dict[str, Any]) -> Row:
    name, condition, method, made_by = (cells.pop(key, "") for key in KEYS)
    for before, today in FORMER_METHODS.items():
        method = method.replace(before, today)
    figures = {name: float(value) for name, value in cells.items() if value}
    return Row(name, FORMER_CONDITIONS.get(condition, condition), method, figures, made_by)


def _comparable(table: Mapping[str, Mapping[str, Row]], common: Sequence[str], name: str) -> dict[str, np.ndarray]:
    """By method: its values of the objects of which all have this figure; none for a method that never has it."""
    found = {m: np.array([rows[i].figures.get(name, NOTHING) for i in common], float) for m, rows in table.items()}
    having = {method: own for method, own in found.items() if np.isfinite(own).any()}
    usable = np.isfinite(list(having.values())).all(axis=0) if having else np.zeros(len(common), bool)
    return {method: own[usable] if method in having else np.zeros(0) for method, own in found.items()}


def _cell(values: Mapping[str, np.ndarray], method: str, against: str, digits: int) -> str:
    own, other = values[method], values.get(against, np.zeros(0))
    text = f"{own.mean():.{digits}f}" if len(own) else "-"
    if method in (against, TRUTH) or not len(own) == len(other) > 1:
        return text
    return f"{text} ({paired(own - other, digits)})"


def _digest(case: str, method: str) -> str:
    return hashlib.sha256(f"{case} {method}".encode()).hexdigest()[:16]
