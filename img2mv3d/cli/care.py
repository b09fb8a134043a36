"""The commands `cache`, `doctor` and `licences`; and `weights`, from a module of its own.

In: the words on the command line. Out: lines on stdout, an exit status.
"""

from __future__ import annotations

import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from img2mv3d.cli import bundle
from img2mv3d.cli.flags import INSTALLATION, TEXT, command, parse_bytes, typed_in
from img2mv3d.cli.lines import size_text, tell
from img2mv3d.errors import Img2mv3dError, ResourceError

if TYPE_CHECKING:
    from img2mv3d.flow.store import Store

EXTRAS = ("matting", "heic", "wonder3d", "serve", "usd", "print", "train", "eval")  # that a user may want

app = typer.Typer(**TEXT)
cache_app = typer.Typer(help="The cache of results.", **TEXT)
app.add_typer(cache_app, name="cache", rich_help_panel=INSTALLATION)
app.add_typer(bundle.app, name="weights", rich_help_panel=INSTALLATION)

MaxSize = Annotated[
    int, typer.Option("--max-size", parser=parse_bytes, metavar="BYTES", help="Size to keep, such as 500M or 2G.")
]


@command(cache_app, "cache", "debug", name="list")
def cache_list(**flags: Any) -> None:
    """List the entries: key, stage, size, last use; the most recent first."""
    for entry in _store(flags).entries():
        print(f"{entry.key[:12]}  {entry.stage:<12} {size_text(entry.size):>9}  {_ago(entry.used)}")


@command(cache_app, "cache", "debug", name="size")
def cache_size(**flags: Any) -> None:
    """Show its size and its folder."""
    store = _store(flags)
    print(f"{size_text(store.size())} in {len(store.entries())} entries, {store.folder}")


@command(cache_app, "cache", "debug", name="prune")
def cache_prune(max_size: MaxSize = "1G", **flags: Any) -> None:  # type: ignore[assignment]
    """Remove the least recently used entries, and damaged ones."""
    removed, freed = _store(flags).prune(max_size)
    print(f"{removed} entries removed, {size_text(freed)} freed")


@command(cache_app, "cache", "debug", name="verify")
def cache_verify(**flags: Any) -> None:
    """Read every byte and set damaged entries aside."""
    store = _store(flags)
    good, aside, stuck = store.verify()
    print(f"{good} entries are good, {len(aside)} damaged and set aside")
    if stuck:
        raise ResourceError(
            f"{store.folder}: entries that cannot be read or moved: {len(stuck)}; look at the folder's rights and disk,"
            " or name another one with --cache"
        )


@command(app, "debug", group=INSTALLATION)
def licences(**flags: Any) -> None:
    """Show the licences of code, weights and data.

    \b
    img2mv3d licences
    """
    from img2mv3d.bundles import upstreams

    print(upstreams.table(upstreams.licences()))


@command(app, "cache", "debug", group=INSTALLATION)
def doctor(**flags: Any) -> None:
    """Check this installation and this machine."""
    tell(findings(flags), "something above is missing or wrong; the line says what to type")


def findings(flags: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """(label, what was found, whether that is good enough), one by one."""
    from img2mv3d import __version__, machine

    yield "img2mv3d", f"{__version__} in {Path(__file__).parents[1]}", True
    yield "python", f"{platform.python_version()} on {platform.platform()}", sys.version_info >= (3, 11)
    needs = list(requirements())
    there = [f"{n.name} {_version(n.name)}" for n in needs if not n.extra and n.met]
    yield "packages", ", ".join(there), True
    for need in needs:
        if not need.extra and not need.met:
            found = _version(need.name)
            yield "missing", f"{need.name}{f' (found {found})' if found else ''}: pip install '{need.text}'", False
    lacking = {need.extra for need in needs if not need.met}
    yield "extras", ", ".join(extra for extra in EXTRAS if extra not in lacking) or "none", True
    for extra in EXTRAS:
        if extra in lacking:
            names = " ".join(f"'{need.text}'" for need in needs if need.extra == extra and not need.met)
            yield "without", f"{extra}: pip install {names}", True
    yield "device", f"{machine.guess_device()} (torch built for {machine.torch_cuda_build() or 'the CPU'})", True
    yield "threads", f"{machine.thread_count()} of {machine.cpu_count()} processors", True
    yield from _bundle_finding()
    yield from _matting_finding()
    store = _store(flags)
    if problem := store.problem():  # runs go on without it: no failure
        remedy = "set IMG2MV3D_CACHE to a folder that can be; without it every run computes everything anew"
        yield "without", f"cache: {store.folder} cannot be written ({problem}); {remedy}", True
    else:
        yield "cache", f"{store.folder}, {size_text(store.size())}", True
    place, where = (Path(), "here") if problem or store.folder is None else (store.folder, "there")
    free = machine.free_disk(place)
    yield "disk", f"{size_text(free)} free {where}", free > 100 * 10**6


def _store(flags: Mapping[str, Any]) -> Store:
    from img2mv3d.cli.carry import open_store

    return open_store(typed_in(flags), lambda line: print(f"warning: {line}", file=sys.stderr))


@dataclass(frozen=True)
class Need:
    """A package that this one asks for. text: with the versions that will do. extra: which asks, "" for all. met: is
    such a version installed?"""

    name: str
    text: str
    extra: str
    met: bool


def requirements() -> Iterator[Need]:
    """What the installed package asks for; nothing when only its sources are here."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = requires("img2mv3d") or []
    except PackageNotFoundError:
        return
    for line in lines:
        text, _, marker = (part.strip() for part in line.partition(";"))
        found = re.search(r"extra == ['\"]([\w-]+)", marker)
        match = re.match(r"[\w.-]+", text)
        if match is not None and (found is not None or not marker):
            name = match.group()
            yield Need(name, text, found.group(1) if found else "", _meets(_version(name), text[len(name) :]))


def _meets(version: str | None, wanted: str) -> bool:
    """Will the version do? Without `packaging` any will."""
    if version is None:
        return False
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
    except ImportError:
        return True
    try:
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _bundle_finding() -> Iterator[tuple[str, str, bool]]:
    from img2mv3d.bundles.weights import load_bundle

    try:
        bundle = load_bundle("mini")
        yield "weights", f"mini {bundle.digest[:12]}: {', '.join(bundle.parts())}; {bundle.folder}", True
    except Img2mv3dError as error:
        yield "weights", str(error), False


def _matting_finding() -> Iterator[tuple[str, str, bool]]:
    from img2mv3d.matting.model import RECIPE, find_model

    try:
        model = find_model()
        yield "matting", str(model) if model else f"no U2-Netp, busy backgrounds go by colour alone: {RECIPE}", True
    except Img2mv3dError as error:
        yield "matting", str(error), False


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for size, word in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.0f} {word} ago"
    return "just now"
