"""Lines for people that several commands print.

In: plain values. Out: text on stdout or stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from img2mv3d.errors import WeightsError


def draws(stream: Any) -> bool:
    """Whether boxes, colours and moving lines suit the stream: a terminal whose user has not asked for plain text."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")


def marked(line: str) -> Any:
    """A rich text of a line whose first word says what kind it is: error, warning, note."""
    from rich.text import Text

    kind, colon, rest = line.partition(": ")
    style = {"error": "bold red", "warning": "bold yellow", "note": "bold"}.get(kind)
    return Text.assemble((kind + colon, style), rest) if style else Text(line)


def say(line: str) -> None:
    """A line on stderr; on a terminal its first word may stand out, and it is broken between words."""
    if not draws(sys.stderr):
        print(line, file=sys.stderr, flush=True)
        return
    from rich.console import Console

    Console(stderr=True, highlight=False).print(marked(line))


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
