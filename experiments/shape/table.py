"""The bodies' table of docs/evaluation: `python -m experiments.shape.table CORPORA... -o rows.tsv`.

Objects of `test` as the protocol shows them; photo copied, revolution, body, body told the true depth; paired against
revolution, for real scans and others, level and from above, and for round things (revolution of the true outline has an
F-score at 5 % of 0.85). `--part K N` measures every N-th case from the K-th on, `--rows FILE...` prints the table of
files that such parts wrote.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.eval.comparison import Row, interval, load_rows, run
from img2mv3d.eval.methods import body_methods
from img2mv3d.eval.own_surface import OwnSurface
from img2mv3d.eval.protocol import REAL, planned
from img2mv3d.eval.scores import VIEWS

FIGURES = ("f_02", "f_05", "f_10", "chamfer", "volume_iou", "outline_iou")
NAMES = {"body": "mini", "body, true depth": "mini, true depth"}
ROUND = 0.85


def merged(corpora: list[Path], folder: Path) -> Path:
    """One folder with the objects of all."""
    (folder / "objects").mkdir()
    for corpus in corpora:
        for path in (corpus / "objects").iterdir():
            (folder / "objects" / path.name).symlink_to(path.resolve())
    return folder


def groups(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by scans and others, level and from above, and by roundness."""
    turned = {(r.id, r.condition): r.figures.get("f_05", 0.0) for r in rows if r.method == "revolution"}
    found: dict[str, list[Row]] = {}
    for row in rows:
        kind = "scans" if row.id.startswith(REAL) else "others"
        found.setdefault(f"{kind}, {'level' if row.id.endswith('@0') else 'from above'}", []).append(row)
        is_round = turned[row.id, row.condition] >= ROUND
        found.setdefault("round things" if is_round else "all others", []).append(row)
    return found


def main(asked: argparse.Namespace) -> None:
    """Measure, or print."""
    if not asked.rows:
        with tempfile.TemporaryDirectory() as folder:
            cases = planned("test", merged(asked.corpora, Path(folder)))
            part = islice(cases, asked.part[0], None, asked.part[1])
            methods = body_methods(load_bundle(asked.bundle))
            run(methods, part, [VIEWS, OwnSurface().shape(shift=True)], asked.out, lambda line: print(line, flush=True))
        return
    rows = [row for path in asked.rows for row in load_rows(path)]
    for group, members in groups(rows).items():
        table = {m: {r.id: r.figures for r in members if r.method == m} for m in ("revolution", *NAMES)}
        for method, values in table.items():
            cells = []
            for figure in FIGURES:
                mine = np.array([v[figure] for v in values.values()])
                base = np.array([table["revolution"][case][figure] for case in values])
                gain, half = interval(mine - base)
                told = (
                    ""
                    if method == "revolution" or figure in ("chamfer", "volume_iou")
                    else f" ({gain:+.3f} +- {half:.3f})"
                )
                cells.append(f"{mine.mean():.3f}{told}")
            head = f"**{group}** ({len(values)}): revolution" if method == "revolution" else NAMES[method]
            print(f"| {head} |", " | ".join(cells), "|")
    for method in ("photo copied", "body"):
        for figure in ("psnr", "psnr_mask", "features"):
            print(method, figure, round(float(np.mean([r.figures[figure] for r in rows if r.method == method])), 3))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="*")
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--bundle", type=Path, default=Path("weights/mini"))
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1))
    parser.add_argument("--rows", type=Path, nargs="*")
    main(parser.parse_args())
