"""Loops over pixels, faces and nodes as machine code (numba), kept on disk where that can be written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """The function compiled when first called; other threads may run meanwhile.

    options: of `numba.njit`.
    """
    settings = {"nogil": True, "error_model": "numpy", **options}
    function = inspect.unwrap(function)  # the tests' shape checker wraps every function of the package
    try:
        return njit(cache=True, **settings)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written: compile every time
        return njit(**settings)(function)
