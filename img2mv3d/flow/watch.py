"""Checks between two stages: finite numbers, and memory that was enough.

In: the value that a stage gave, or the error that it ended with. Out: nothing, or one line that names stage and remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from img2mv3d.errors import ResourceError, WeightsError
from img2mv3d.flow.graph import GRAPH
from img2mv3d.machine import is_starved

T = TypeVar("T")


def check_numbers(stage: str, value: Any) -> None:
    """Raises WeightsError, naming stage and array, when the value holds NaN or infinite numbers in an array [...]."""
    import numpy as np

    for name, array in vars(value).items() if hasattr(value, "__dict__") else ():
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not np.isfinite(array).all():
            wrong = int((~np.isfinite(array)).sum())
            raise WeightsError(
                f"{stage}: {wrong} of {array.size} numbers of {name} are NaN or infinite; half precision overflows or "
                "the weights are damaged: try --device cpu, then `img2mv3d weights verify`"
            )


def with_less(attempts: Mapping[str, Callable[[], T]], say: Callable[[str], None]) -> T:
    """What the first attempt gives, or, when memory does not suffice, the next: attempts by what is said about them, at
    most two. Errors of other kinds come as they are."""
    (_, first), *rest = attempts.items()
    try:
        return first()
    except Exception as error:
        if not rest or not is_starved(error):
            raise
    words, second = rest[0]
    say(f"not enough memory; once more, {words}")
    return second()


def starved(stage: str, error: BaseException) -> ResourceError | None:
    """The line about a stage that had not enough memory; None when the error says something else."""
    hint = GRAPH[stage].memory_hint
    if not is_starved(error) or not hint:
        return None
    return ResourceError(f"{stage}: not enough memory; close other programs, or {hint}")
