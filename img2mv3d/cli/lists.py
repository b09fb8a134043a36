"""Lists of photos in a file: CSV or Parquet, one photo a row, with options of its own.

In: words as typed: photos, folders, patterns, lists. Out: `Wanted`. A list has a column `photo` (or `from`: the file of
any stage, to be carried on), and columns named as flags; paths count from the list's folder.
"""

from __future__ import annotations

import csv
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from img2mv3d.cli.flags import FLAGS, Flag
from img2mv3d.cli.wanted import photos_of
from img2mv3d.errors import InputError, UsageError

ENDINGS = (".csv", ".parquet")
PATHS = ("photo", "from")  # the columns that say where it begins
OF_THE_RUN = ("out", "cache", "no_cache", "store", "quiet", "json", "debug")  # flags that are the same for all
YES, NO = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Wanted:
    """One photo, and its own flags beside those that were typed. carried: it is the file of a stage, not a photo."""

    path: Path
    typed: Mapping[str, Any] = field(default_factory=dict)
    carried: bool = False


def is_list(word: str) -> bool:
    """Does the word name a list?"""
    return word.lower().endswith(ENDINGS)


def wanted_of(words: list[str]) -> list[Wanted]:
    """Everything that the words mean, in their order. Raises InputError, UsageError."""
    found: list[Wanted] = []
    plain: list[str] = []
    for word in [*words, ""]:
        if word and not is_list(word):
            plain.append(word)
            continue
        found += [Wanted(photo) for photo in photos_of(plain)] if plain else []
        plain = []
        found += read_list(Path(word)) if word else []
    return found


def read_list(path: Path) -> list[Wanted]:
    """The rows of a list. Raises InputError, with the row's number, when one makes no sense."""
    found = []
    for number, row in enumerate(_rows(path), start=2):
        cells = {str(name).strip(): value for name, value in row.items() if value not in (None, "")}
        where = f"{path}, row {number}"
        begin = [name for name in PATHS if name in cells]
        if len(begin) != 1:
            raise InputError(f"{where}: expected a value in one of the columns {' and '.join(PATHS)}")
        start = path.parent / str(cells.pop(begin[0])).strip()
        typed = dict(_flag(name, value, path.parent, where) for name, value in cells.items())
        found.append(Wanted(start, typed, begin[0] == "from"))
    if not found:
        raise InputError(f"{path}: is empty; expected a column photo and a row for each")
    return found


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        if path.suffix.lower() == ".parquet":
            yield from _parquet(path)
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from None


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise UsageError(f"{path}: Parquet needs pyarrow, which is not installed; give a CSV file") from None
    try:
        for row in parquet.read_table(path).to_pylist():  # whole numbers with gaps come as 3.0 and NaN
            yield {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in row.items() if v == v}
    except ArrowInvalid as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error})") from None


def _flag(name: str, value: Any, folder: Path, where: str) -> tuple[str, Any]:
    """A column and its cell as a flag and its value."""
    known = {decl.lstrip("-"): key for key, flag in FLAGS.items() for decl in flag.decls} | {key: key for key in FLAGS}
    key = known.get(name)
    if key is None or key in OF_THE_RUN:
        raise InputError(f"{where}: there is no column {name!r}; columns are named as flags of `run`, such as seed")
    try:
        return key, _value(FLAGS[key], str(value).strip(), folder)
    except ValueError as error:
        raise InputError(f"{where}, column {name}: {error}") from None


def _value(flag: Flag, text: str, folder: Path) -> Any:
    """Raises ValueError."""
    if flag.parse is not None:
        return flag.parse(text)
    if flag.type is Path:
        return folder / text
    if flag.type is bool:
        if text.lower() not in YES + NO:
            raise ValueError(f"{text}: expected true or false")
        return text.lower() in YES
    if flag.choices and text not in flag.choices:
        raise ValueError(f"{text}: expected one of {', '.join(flag.choices)}")
    value = flag.type(text) if flag.type in (int, float, str) else text
    low, high = (typing.cast(Any, edge) for edge in (flag.low, flag.high))
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{text}: expected {flag.type.__name__} from {low} to {high}")
    return value
