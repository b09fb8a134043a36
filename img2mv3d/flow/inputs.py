"""Inputs of stages, unread: the digest of something on disk, and a way to its value.

In: the `Source` of a run. Out: a `Node` for each thing that it may hold. A run whose stages are all known compares
digests only; values are read, and their modules imported, where something must be computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from img2mv3d.files.durable import digest_of
from img2mv3d.flow.entry import Source, digest_files, digest_input
from img2mv3d.flow.runners import matting_digest
from img2mv3d.plans import WITHOUT_NETWORK
from img2mv3d.values import load_views


@dataclass(frozen=True, eq=False)
class Node:
    """Something on disk that a stage takes: its digest (None: not there), and a way to its value for whoever must
    compute from it. again: its digest as it is now, where that can be told.
    """

    digest: str | None = None
    read: Callable[[], Any] = lambda: None
    again: Callable[[], str | None] | None = None

    @cached_property
    def value(self) -> Any:
        """The value itself, read once."""
        return self.read()

    def changed(self) -> bool:
        """Has somebody written to it since its digest was taken?"""
        return self.again is not None and self.again() != self.digest


def photo(source: Source) -> Node:
    """The photo's file, where the run begins with one. Raises PhotoError when it cannot be read."""
    return _file(source.path if source.kind == "photo" else None)


def back(source: Source) -> Node:
    """The file of a photo of the back that came with the photo. Raises PhotoError when it cannot be read."""
    return _file(source.back)


def sides(source: Source) -> Node:
    """The files of photos of other sides, by azimuth. Raises PhotoError when one cannot be read."""
    if not source.sides:
        return Node()

    def digest() -> str:
        return digest_of({f"{a:g}": digest_input(path) for a, path in source.sides})

    return Node(digest(), lambda: dict(source.sides), digest)


def mask(source: Source) -> Node:
    """The mask's file that came with the photo. Raises PhotoError when it cannot be read."""
    return _file(source.mask)


def matting(source: Source, remover: str) -> Node:
    """The model that the remover `auto` would use: a photo cut out without it is cut out anew once it is there."""
    return _matting(source.kind == "photo" and source.mask is None, remover)


def back_matting(source: Source, remover: str) -> Node:
    """The same for the photo of the back."""
    return _matting(source.back is not None, remover)


def side_matting(source: Source, remover: str) -> Node:
    """The same for photos of other sides."""
    return _matting(bool(source.sides), remover)


def pictures(source: Source) -> Node:
    """The folder of views that must be encoded first."""

    def digest() -> str:
        return digest_files(source.files("decode"))

    return Node(digest(), lambda: load_views(source.path), digest)


def given_depth(source: Source) -> Node:
    """What stands in for the quick fit: "none" or a file."""
    if source.depth == "none":
        return Node("none", lambda: "none")
    return _file(None if source.depth in (None, "neus") else Path(source.depth))


def _matting(wanted: bool, remover: str) -> Node:
    return Node(matting_digest(remover) if wanted and remover not in WITHOUT_NETWORK else None)


def _file(path: Path | None) -> Node:
    return Node() if path is None else Node(digest_input(path), lambda: path, lambda: digest_input(path))
