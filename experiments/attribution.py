"""`python -m experiments.attribution CORPUS...`: whom the shape network learnt from, by source and licence."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

from img2mv3d.data.corpus import read_manifest
from img2mv3d.data.splits import learners


def lines(corpora: list[Path]) -> list[str]:
    """One paragraph for each source and licence: how many objects, and their authors."""
    authors: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for corpus in corpora:
        for entry in learners(read_manifest(corpus / "manifest.tsv")):
            authors[entry.source, entry.licence][entry.author or "not named"] += 1
    found = []
    for (source, licence), names in sorted(authors.items()):
        told = ", ".join(name if count == 1 else f"{name} ({count})" for name, count in sorted(names.items()))
        found += [f"{source}, {licence}, {names.total()} objects:", f"    {told}", ""]
    return found


if __name__ == "__main__":
    print("\n".join(lines([Path(name) for name in sys.argv[1:]])))
