"""The photos that words on the command line name, and a folder's name for each.

In: files, folders, patterns as typed. Out: paths, names. No two photos share a folder.
"""

from __future__ import annotations

import glob
import re
from collections import Counter
from pathlib import Path

from img2mv3d.errors import InputError, UsageError

ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif")  # photos
# Photos that may be unreadable: their run says so, and no folder leaves one out without a word.
OTHERS = (".heic", ".heif", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".psd", ".jp2", ".jxl")
OURS = ("seeds", "index.html", "summary.json")  # what we call our own things beside the photos' folders


def is_one(words: list[str]) -> bool:
    """Is a single photo meant? Then its results go straight into out/."""
    return len(words) == 1 and not Path(words[0]).is_dir() and (Path(words[0]).exists() or not _is_pattern(words[0]))


def photos_of(words: list[str]) -> list[Path]:
    """Every photo once, in the order of the words; those of a folder or a pattern by name, 2 before 10. A word that is
    no file at all stays: its run will say so. Raises InputError when a folder or a pattern holds none, UsageError for a
    run's folder.
    """
    found: dict[Path, Path] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            if (path / "run.json").exists():
                raise UsageError(f"{path} is a run's folder; `run --from {path}` continues from it")
            if _holds_views(path):
                raise UsageError(f"{path} is a folder of views; `reconstruct {path}` or `run --from {path}` takes it")
            meant = (*ENDINGS, *OTHERS)
            inside = [p for p in path.iterdir() if p.suffix.lower() in meant and not p.name.startswith(".")]
            some = sorted((p for p in inside if p.is_file()), key=_natural)
            if not some:
                raise InputError(f"{path}: no photo in there ({', '.join(e[1:] for e in ENDINGS)}){_instead(path)}")
        elif _is_pattern(word) and not path.exists():
            some = sorted((p for p in map(Path, glob.glob(word, recursive=True)) if p.is_file()), key=_natural)
            if not some:
                raise InputError(f"{word}: no such file")
        else:
            some = [path]
        for photo in some:
            found.setdefault(photo.absolute(), photo)
    return list(found.values())


def names_for(photos: list[Path]) -> list[str]:
    """A folder's name for each photo, all different whatever the file system thinks of case: its own without ending;
    with it where two would be the same; with a number where that is not enough.

    >>> names_for([Path("cup.png"), Path("a/shoe.png"), Path("a/shoe.jpg"), Path("b/shoe.jpg")])
    ['cup', 'shoe.png', 'shoe.jpg', 'shoe.jpg-2']
    """
    stems = Counter(p.stem.casefold() for p in photos)
    wanted = [p.stem if stems[p.stem.casefold()] == 1 else p.name for p in photos]
    taken: set[str] = set(OURS)
    last: Counter[str] = Counter()  # the number that a name had last: many photos may be called 0.png
    result = []
    for name in wanted:
        name = name if name.strip(". ") else "photo"
        number, free = max(last[name.casefold()], 1), name
        while free.casefold() in taken:
            number += 1
            free = f"{name}-{number}"
        last[name.casefold()] = number
        taken.add(free.casefold())
        result.append(free)
    return result


def left_out(words: list[str]) -> list[Path]:
    """Files in the folders that were named which count as no photos."""
    folders = [Path(word) for word in words if Path(word).is_dir()]
    files = (p for folder in folders for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith("."))
    return [p for p in files if p.suffix.lower() not in (*ENDINGS, *OTHERS)]


def _instead(folder: Path) -> str:
    """What may have been meant by a folder without photos, as the end of a sentence: views, or photos further in."""
    from img2mv3d.flow.entry import meant_inside

    deeper = (p.parent for depth in ("*/*", "*/*/*") for p in sorted(folder.glob(depth)) if p.suffix.lower() in ENDINGS)
    place = next(deeper, None)
    return meant_inside(folder) or (f"; photos are in {place}: name that one" if place else "")


def _holds_views(folder: Path) -> bool:
    names = ("views.json", "color_front.png", "rgb_000_front.png", "color_front_masked.png")
    return any((folder / name).is_file() for name in names)


def _is_pattern(word: str) -> bool:
    return glob.has_magic(word)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Numbers in names count as numbers."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", str(path).casefold())]
