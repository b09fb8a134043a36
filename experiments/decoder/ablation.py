"""What each part of the cross-view decoder is worth: every arm less one of them, paired, as docs/decoder.md shows it.

In: records of `eval consistency`. Out: tables. Why here: whoever trains a variant gets the table that ours stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from img2mv3d.eval.arms import SOFTER
from img2mv3d.eval.consistency import Record, load_records

COLUMNS = {  # the record's figure: heading, decimals
    "psnr_front": ("front, dB", 1),
    "psnr_others": ("others, dB", 2),
    "psnr_45": ("45 degrees", 2),
    "psnr_90": ("90 degrees", 2),
    "psnr_back": ("back", 2),
    "warp": ("warp", 4),
    "agreeing": ("agreeing", 1),
    "matches": ("matches", 0),
}


def paired(difference: Float[np.ndarray, " N"], decimals: int) -> str:
    """Mean +- half of its 95 % interval; bold when that excludes zero."""
    half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    text = f"{difference.mean():+.{decimals}f} +- {half:.{decimals}f}"
    return f"**{text}**" if abs(difference.mean()) > half else text


def less(records: Sequence[Record], setting: str, against: str, arms: Sequence[str] | None = None) -> str:
    """Markdown: the arm `against` as it is, then every arm's paired difference to it over the objects that both have.
    The last column is each arm's own sharpness, a median. arms: which and in which order; None: all of the setting."""
    rows: dict[str, dict[str, Record]] = {}
    for r in records:
        if r.setting == setting:
            rows.setdefault(r.arm, {})[r.id] = r
    own = rows[against]
    heads = [head for head, _ in COLUMNS.values()]
    lines = [f"| arm less {against} | {' | '.join(heads)} | sharpness (its own) |", "|---" * (len(heads) + 2) + "|"]
    means = [f"{np.nanmean(_figures(own.values(), name)):.{digits}f}" for name, (_, digits) in COLUMNS.items()]
    lines.append(f"| *{against} itself* | {' | '.join(means)} | {_median(own)} |")
    for arm in arms or [a for a in rows if a not in (against, "true views")]:
        if arm not in rows:
            continue
        both = [i for i in rows[arm] if i in own]
        cells = []
        for name, (_, digits) in COLUMNS.items():
            gain = _figures((rows[arm][i] for i in both), name) - _figures((own[i] for i in both), name)
            gain = gain[np.isfinite(gain)]
            cells.append(paired(gain, digits) if len(gain) > 1 else "-")
        lines.append(f"| {arm} | {' | '.join(cells)} | {_median(rows[arm])} |")
    return "\n".join(lines)


def at_equal_sharpness(records: Sequence[Record], against: str, arms: Sequence[str] | None = None) -> str:
    """Markdown: figures of each arm and of `against`, both blurred view by view to the softer one's sharpness: the rows
    that `--soften against` adds. arms: None: all that have such rows."""
    found: dict[str, dict[str, Record]] = {}
    for r in records:
        found.setdefault(r.arm, {})[r.id] = r
    known = [one for one, _, other in (arm.partition(SOFTER) for arm in found) if other == against]
    heads = ["arm", "sharpness, median", "its warp", f"warp of {against}", "warp less", "others, dB less"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for arm in [a for a in arms or known if a in known]:
        its, ours = found[f"{arm}{SOFTER}{against}"], found.get(f"{against}{SOFTER}{arm}", {})
        both = [i for i in its if i in ours]
        if len(both) < 2:
            continue
        pairs = {n: [_figures((x[i] for i in both), n) for x in (its, ours)] for n in ("warp", "psnr_others")}
        means = [f"{column.mean():.4f}" for column in pairs["warp"]]
        gains = [paired(one - other, digits) for (one, other), digits in zip(pairs.values(), (4, 2), strict=True)]
        lines.append(f"| {arm} | {_median(its)} | {' | '.join([*means, *gains])} |")
    return "\n".join(lines)


def _figures(records: Iterable[Record], name: str) -> Float[np.ndarray, " N"]:
    return np.array([float(getattr(r, name)) for r in records])


def _median(rows: Mapping[str, Record]) -> str:
    return f"{np.nanmedian(_figures(rows.values(), 'sharpness')):.2f}"


def main() -> None:
    """python -m experiments.decoder.ablation OUT/consistency.tsv AGAINST"""
    import sys

    records = load_records(Path(sys.argv[1]))
    for setting in dict.fromkeys(r.setting for r in records):
        of_it = [r for r in records if r.setting == setting]
        print(f"\n{setting}:\n\n{less([r for r in of_it if SOFTER not in r.arm], setting, sys.argv[2])}")
        if any(SOFTER in r.arm for r in of_it):
            print(f"\nat equal sharpness:\n\n{at_equal_sharpness(of_it, sys.argv[2])}")


if __name__ == "__main__":
    main()
