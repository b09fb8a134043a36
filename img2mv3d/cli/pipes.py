"""`run -` and `-o -`: a photo from stdin, one file to stdout.

In: bytes, flags as typed. Out: files as ever, or the bytes of the result alone on stdout.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from img2mv3d.cli.seeds import Seeds
from img2mv3d.errors import InputError, UsageError

STREAM = Path("-")


def is_piped(photos: list[str] | None, typed: Mapping[str, Any]) -> bool:
    """Is stdin or stdout meant?"""
    return photos == ["-"] or typed.get("out") == STREAM


def run_piped(
    photos: list[str] | None, start: Path | None, until: str, typed: Mapping[str, Any], seeds: Seeds, *, report: bool
) -> None:
    """One run whose photo is stdin, or whose result is stdout, or both. Raises UsageError, InputError."""
    from img2mv3d.cli.carry import carry
    from img2mv3d.cli.target import target_of
    from img2mv3d.flow.entry import Source, source_of

    with tempfile.TemporaryDirectory(prefix="img2mv3d-pipe-") as place:
        if photos == ["-"]:
            source = Source("photo", _received(Path(place)))
        else:
            source = Source("photo", Path(photos[0])) if photos else source_of(start or Path())
        if typed.get("out") == STREAM:
            _send(source, Path(place) / "out", until, typed, seeds)
        else:
            typed, target = target_of(typed, until)
            folder = typed.get("out") or (source.root if start else Path("out"))
            carry(source, folder, until, typed, report=report, seeds=seeds, target=target)


def _received(place: Path) -> Path:
    """The photo from stdin, as a file. Raises InputError when none comes."""
    if sys.stdin.isatty():
        raise InputError("no photo comes in: img2mv3d run - < photo.jpg")
    data = sys.stdin.buffer.read()
    if not data:
        raise InputError("stdin: is empty (0 bytes); img2mv3d run - < photo.jpg")
    path = place / "stdin"
    path.write_bytes(data)
    return path


def _send(source: Any, folder: Path, until: str, typed: Mapping[str, Any], seeds: Seeds) -> None:
    """The result's bytes to stdout, words to stderr. Raises UsageError when the result is more than one file."""
    from img2mv3d.cli.carry import carry_one, plan_of
    from img2mv3d.cli.screen import screen_for
    from img2mv3d.flow.graph import GRAPH

    asked = plan_of(typed, source).export
    several = until == "decode" or (until == "export" and (asked.format == "obj" or asked.lod > 1))
    if several or "json" in typed:
        raise UsageError(
            f"-o - writes one file and nothing else; {GRAPH[until].name} gives several, or --json was typed"
        )
    with screen_for(quiet="quiet" in typed) as screen:
        result, _ = carry_one(source, folder, until, typed, screen, report=False, seeds=seeds)
    for line in result.warnings:
        screen.warn(line)
    sys.stdout.buffer.write(result.path.read_bytes())
    sys.stdout.buffer.flush()
