"""What a run may begin with: a photo, or the file of any stage, recognised by its name and content.

In: a path that somebody typed. Out: `Source`: its kind, and the files that stand for a stage's output.
"""

from __future__ import annotations

import fnmatch
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.errors import DepthError, InputError, PhotoError
from img2mv3d.files.durable import digest_file, digest_of
from img2mv3d.flow.graph import GRAPH, STAGES, stage_of


@dataclass(frozen=True)
class Source:
    """Where a run begins.

    kind: photo, subject, latents, depth, views, surface, run (a run's folder as it stands), or pictures (views that
        must be encoded first).
    mask: a file that goes with a photo.
    depth: None or "neus" (the quick fit), "none", or a file that replaces it.
    back: a photo of the back that goes with the photo.
    sides: photos of other sides that go with it, each with its azimuth in degrees.
    """

    kind: str
    path: Path
    mask: Path | None = None
    depth: str | None = None
    back: Path | None = None
    sides: tuple[tuple[float, Path], ...] = ()

    def __post_init__(self) -> None:
        for name in ("path", "mask", "back"):  # words are paths, too
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, Path(value))

    @property
    def stage(self) -> str | None:
        """The stage whose output was given, None for a photo, pictures or a whole run."""
        return stage_of(self.kind)

    @property
    def root(self) -> Path:
        """The folder in which the other files of the same run would lie."""
        if self.kind in ("run", "pictures"):
            return self.path.absolute()
        if self.kind == "views":
            return self.path.absolute().parent if self.path.absolute().name == "views" else self.path.absolute()
        return self.path.absolute().parent

    def files(self, stage: str) -> dict[str, Path]:
        """Names as under a run's folder, to the files that hold the stage's output here; empty when it is not here."""
        if stage == "generate" and self.kind == "latents":
            return {"latents.pt": self.path.absolute()}
        if stage == "reconstruct" and self.kind == "surface":
            return {"surface.npz": self.path.absolute()}
        if stage == "decode" and self.kind in ("views", "pictures"):
            return {f"views/{p.name}": p for p in sorted(self.path.absolute().iterdir()) if _is_view_file(p)}
        return stage_files(self.root, stage)


def same_place(a: Path, b: Path) -> bool:
    """Do both paths lead to one folder, whatever links and dots they go through?"""
    return os.path.realpath(a) == os.path.realpath(b)


def source_of(path: str | Path) -> Source:
    """What `path` is. Raises InputError when there is nothing of that name; a file of no known kind counts as a photo,
    so that reading it says what is wrong with it.
    """
    path = Path(path)
    if path.is_dir():
        return _source_of_folder(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    name = path.name
    if path.suffix == ".pt":
        return Source("latents", path)
    if name in ("subject.png", "subject_full.png", "prepare.json"):
        return Source("subject", path)
    if _is_view_file(path):
        return Source("views", path.parent)
    if path.suffix == ".npz":
        return Source(_kind_of_npz(path), path)
    if name == "run.json":
        return Source("run", path.parent)
    return Source("photo", path)


def stage_files(root: Path, stage: str) -> dict[str, Path]:
    """Relative names to those files of the stage's output that lie under the run's folder `root`. Raises
    OSError."""
    found = [p for pattern in GRAPH[stage].files for p in _matching(root, Path(pattern)) if p.is_file()]
    return {str(p.relative_to(root)): p for p in sorted(found)}


def _matching(root: Path, pattern: Path) -> list[Path]:
    """What a pattern means there, * in any part of it. Raises OSError where a folder cannot be read: pathlib would take
    it for empty."""
    found = [root]
    for part in pattern.parts:
        found = [place / name for place in found for name in ([part] if "*" not in part else _named(place, part))]
    return found


def _named(folder: Path, pattern: str) -> list[str]:
    try:
        return fnmatch.filter(os.listdir(folder), pattern)
    except (FileNotFoundError, NotADirectoryError):
        return []


def digest_input(path: Path) -> str:
    """sha256 (64 hexadecimal digits) of a file that was given. Raises PhotoError when it cannot be read."""
    try:
        return digest_file(path)
    except FileNotFoundError:
        raise PhotoError(f"{path}: no such file") from None
    except OSError as error:
        raise PhotoError(f"{path}: cannot be read ({error.strerror})") from None


def digest_files(files: dict[str, Path]) -> str:
    """One sha256 (64 hexadecimal digits) for names and bytes of several files. Raises OSError."""
    return digest_of({name: digest_file(path) for name, path in files.items()})


def _source_of_folder(path: Path) -> Source:
    if (path / "views.json").exists() or (path / f"color_{VIEW_NAMES[0]}.png").exists():
        return Source("views", path)
    if (path / "run.json").exists() or any((path / GRAPH[stage].result).exists() for stage in STAGES):
        return Source("run", path)
    raise InputError(
        f"{path}: neither a run's folder nor one of views (color_front.png and the others){meant_inside(path)}"
    )


def meant_inside(folder: Path) -> str:
    """What somebody may have meant by a folder that is nothing by itself, as the end of a sentence; "" for nothing."""
    for ending in (".jpg", ".jpeg", ".webp"):
        if (folder / f"color_{VIEW_NAMES[0]}{ending}").exists():
            return f"; its views are {ending} files: save them as PNG with transparency"
    for pattern in ("rgb_*_front.png", "color_front*.png", "views.json", "run.json"):
        for depth in ("*/", "*/*/"):
            if found := next(iter(sorted(folder.glob(depth + pattern))), None):
                return f"; {found.parent} inside of it looks like one"
    return ""


def _kind_of_npz(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except Exception as reason:  # a damaged directory of a zip raises many kinds
        raise InputError(f"{path}: cannot be read as npz ({reason})") from None
    if "sdf.npy" in names:
        return "surface"
    if "z.npy" in names:
        return "depth"
    raise DepthError(f"{path}: holds neither a surface (sdf) nor depth (z, hit)")


def _is_view_file(path: Path) -> bool:
    return path.name == "views.json" or (path.suffix == ".png" and path.name.startswith(("color_", "normal_")))
