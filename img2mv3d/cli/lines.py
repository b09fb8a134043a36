"""Lines for people that several commands print.

In: plain values. Out: text on stdout or stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from img2mv3d.errors import WeightsError


def say(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


def tell(found: Iterable[tuple[str, str, bool]], fault: str) -> None:
    """One line for each (label, text, good); raises WeightsError with the words of `fault` when one is not good."""
    lines, healthy = [], True
    for label, text, good in found:
        lines.append(f"{'ok  ' if good else 'FAIL'}  {label:<13} {text}")
        healthy &= good
    print("\n".join(lines))
    if not healthy:
        raise WeightsError(fault)


def size_text(count: int) -> str:
    """Bytes for people.

    >>> size_text(1_530_000)
    '1.5 MB'
    """
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
