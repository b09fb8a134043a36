"""What each part of the cross-view decoder is worth: every method less one of them, paired.

`python -m experiments.decoder.ablation ROWS.tsv AGAINST`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from experiments.decoder.compare import SOFTER
from img2mv3d.eval.comparison import TRUTH, Row, interval, load_rows

COLUMNS = {  # the record's figure: heading, decimals
    "psnr_front": ("front, dB", 1),
    "psnr_mask": ("others, dB", 2),
    "psnr_45": ("45 degrees", 2),
    "psnr_90": ("90 degrees", 2),
    "psnr_back": ("back", 2),
    "reprojection": ("reprojection", 4),
    "inliers": ("inliers", 1),
    "matches": ("matches", 0),
}


def bold(difference: Float[np.ndarray, " N"], decimals: int) -> str:
    """Mean +- half of its 95 % interval; bold when that excludes zero."""
    mean, half = interval(difference)
    text = f"{mean:+.{decimals}f} +- {half:.{decimals}f}"
    return f"**{text}**" if abs(mean) > half else text


def less(records: Sequence[Row], condition: str, against: str, methods: Sequence[str] | None = None) -> str:
    """Markdown: the method `against` as it is, then every method's paired difference to it over the objects that both
    have. The last column is each method's own sharpness, a median.

    methods: which and in which order; None: all of the condition.
    """
    rows: dict[str, dict[str, Row]] = {}
    for r in records:
        if r.condition == condition:
            rows.setdefault(r.method, {})[r.id] = r
    own = rows[against]
    heads = [head for head, _ in COLUMNS.values()]
    lines = [f"| method less {against} | {' | '.join(heads)} | sharpness (its own) |", "|---" * (len(heads) + 2) + "|"]
    means = [f"{np.nanmean(_figures(own.values(), name)):.{digits}f}" for name, (_, digits) in COLUMNS.items()]
    lines.append(f"| *{against} itself* | {' | '.join(means)} | {_median(own)} |")
    for method in methods or [a for a in rows if a not in (against, TRUTH)]:
        if method not in rows:
            continue
        both = [i for i in rows[method] if i in own]
        cells = []
        for name, (_, digits) in COLUMNS.items():
            gain = _figures((rows[method][i] for i in both), name) - _figures((own[i] for i in both), name)
            gain = gain[np.isfinite(gain)]
            cells.append(bold(gain, digits) if len(gain) > 1 else "-")
        lines.append(f"| {method} | {' | '.join(cells)} | {_median(rows[method])} |")
    return "\n".join(lines)


def at_equal_sharpness(records: Sequence[Row], against: str, methods: Sequence[str] | None = None) -> str:
    """Markdown: figures of each method and of `against`, both blurred view by view to the softer one's sharpness: the
    rows that `--soften against` adds.

    methods: None: all that have such rows.
    """
    found: dict[str, dict[str, Row]] = {}
    for r in records:
        found.setdefault(r.method, {})[r.id] = r
    known = [one for one, _, other in (method.partition(SOFTER) for method in found) if other == against]
    heads = ["method", "sharpness, median", "its reprojection", f"that of {against}", "less", "others, dB less"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for method in [a for a in methods or known if a in known]:
        its, ours = found[f"{method}{SOFTER}{against}"], found.get(f"{against}{SOFTER}{method}", {})
        both = [i for i in its if i in ours]
        if len(both) < 2:
            continue
        pairs = {n: [_figures((x[i] for i in both), n) for x in (its, ours)] for n in ("reprojection", "psnr_mask")}
        means = [f"{column.mean():.4f}" for column in pairs["reprojection"]]
        gains = [bold(one - other, digits) for (one, other), digits in zip(pairs.values(), (4, 2), strict=True)]
        lines.append(f"| {method} | {_median(its)} | {' | '.join([*means, *gains])} |")
    return "\n".join(lines)


def _figures(records: Iterable[Row], name: str) -> Float[np.ndarray, " N"]:
    return np.array([r.figures.get(name, np.nan) for r in records])


def _median(rows: Mapping[str, Row]) -> str:
    return f"{np.nanmedian(_figures(rows.values(), 'sharpness')):.2f}"


def main() -> None:
    """The tables on stdout."""
    import sys

    records = load_rows(Path(sys.argv[1]))
    for condition in dict.fromkeys(r.condition for r in records):
        of_it = [r for r in records if r.condition == condition]
        print(f"\n{condition}:\n\n{less([r for r in of_it if SOFTER not in r.method], condition, sys.argv[2])}")
        if any(SOFTER in r.method for r in of_it):
            print(f"\nat equal sharpness:\n\n{at_equal_sharpness(of_it, sys.argv[2])}")


if __name__ == "__main__":
    main()
