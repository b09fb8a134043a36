"""The commands that look after things: cache, weights, doctor.

In: folders, names, sizes as typed. Out: lines on stdout, an exit status. Why here: none of them computes anything.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from img2mv3d.cli.flags import parse_bytes
from img2mv3d.cli.flow import open_store
from img2mv3d.errors import Img2mv3dError, UsageError, WeightsError

PACKAGES = (
    *("torch", "diffusers", "safetensors", "nerfacc", "PyMCubes", "trimesh", "pillow", "numpy", "scipy"),
    *("fast-simplification", "opencv-python-headless", "typer", "rich", "platformdirs", "jaxtyping"),
)
EXTRAS = ("onnxruntime", "transformers", "accelerate", "huggingface_hub", "embreex", "usd-core", "manifold3d")


def cache_list(given: Mapping[str, Any]) -> None:
    """One line per entry: key, stage, bytes, when it was used last; the last used first."""
    for entry in _store(given).entries():
        print(f"{entry.key[:12]}  {entry.stage:<12} {size_text(entry.size):>9}  {_ago(entry.used)}")


def cache_size(given: Mapping[str, Any]) -> None:
    """One line: bytes, entries, place."""
    store = _store(given)
    print(f"{size_text(store.size())} in {len(store.entries())} entries, {store.folder}")


def cache_prune(max_size: str, given: Mapping[str, Any]) -> None:
    """Forget what was used longest ago until the rest fits."""
    removed, freed = _store(given).prune(parse_size(max_size))
    print(f"{removed} entries removed, {size_text(freed)} freed")


def cache_verify(given: Mapping[str, Any]) -> None:
    """Read every byte; damaged entries are set aside and named on stderr."""
    good, bad = _store(given).verify()
    print(f"{good} entries are good, {len(bad)} were damaged and set aside")


def weights_list() -> None:
    """The bundles that are here."""
    from img2mv3d.bundles.weights import folder_of, load_bundle

    for name in ("mini", *(name for name in ("wonder3d",) if folder_of(name).is_dir())):
        bundle = load_bundle(name)
        print(f"{bundle.name}  {bundle.digest[:12]}  {', '.join(bundle.parts())}  {bundle.folder}")


def weights_verify(name: str) -> None:
    """Check files, numbers and probes of a bundle. Raises WeightsError at the first that is wrong."""
    from img2mv3d.bundles.weights import load_bundle

    bundle = load_bundle(name)
    bundle.check()
    print(f"{bundle.name} is good: {', '.join(bundle.parts())}")


def weights_inspect(name: str) -> None:
    """What the manifest of a bundle says; of a checkpoint, what its files hold, and whether it will load."""
    from img2mv3d.bundles.inspection import findings, is_foreign
    from img2mv3d.bundles.manifests import MANIFEST
    from img2mv3d.bundles.weights import folder_of, load_bundle

    folder = folder_of(name)
    if is_foreign(folder) and not (folder / MANIFEST).is_file():
        tell(findings(folder), f"{folder}: something above is missing or wrong; `img2mv3d weights fetch` brings it")
        return
    bundle = load_bundle(name)
    print(f"folder = {bundle.folder}\ndigest = {bundle.digest}")
    for line in flat(bundle.manifest):
        print(line)


def weights_fetch(name: str, out: Path | None, revision: str, offline: bool, accepted: bool) -> None:
    """Bring an upstream's weights; terms first. The folder's path goes to stdout."""
    from img2mv3d.bundles.fetch import fetch

    folder = _agreed_place(name, out, accepted)
    print(fetch(name, folder, revision=revision, offline=offline, say=note))


def weights_import(source: Path, out: Path | None, accepted: bool) -> None:
    """Take a copy of Wonder3D's weights; terms first. The folder's path goes to stdout."""
    from img2mv3d.bundles.fetch import take

    print(take("wonder3d", source, _agreed_place("wonder3d", out, accepted), say=note))


def licences() -> None:
    """Under which terms code, weights and data stand."""
    from img2mv3d.bundles import upstreams

    print(upstreams.table(upstreams.licences()))


def tell(found: Iterable[tuple[str, str, bool]], fault: str) -> None:
    """One line for each (label, text, good); raises WeightsError with the words of `fault` when one is not good."""
    lines, healthy = [], True
    for label, text, good in found:
        lines.append(f"{'ok  ' if good else 'FAIL'}  {label:<13} {text}")
        healthy &= good
    print("\n".join(lines))
    if not healthy:
        raise WeightsError(fault)


def doctor(given: Mapping[str, Any]) -> None:
    """What this installation and this machine have, and what they lack. Raises WeightsError when it cannot run."""
    tell(findings(given), "something above is missing or wrong; install img2mv3d again: pip install -e .")


def findings(given: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """(label, what was found, whether that is good enough), one by one."""
    from img2mv3d import __version__, machine

    yield "img2mv3d", f"{__version__} in {Path(__file__).parents[1]}", True
    yield "python", f"{platform.python_version()} on {platform.platform()}", sys.version_info >= (3, 11)
    missing = [name for name in PACKAGES if _version(name) is None]
    yield "packages", ", ".join(f"{n} {_version(n)}" for n in PACKAGES if n not in missing), not missing
    if missing:
        yield "missing", ", ".join(missing), False
    yield "extras", ", ".join(f"{n} {_version(n) or '-'}" for n in EXTRAS), True
    yield "device", f"{machine.guess_device()} (torch built for {machine.torch_cuda_build() or 'the CPU'})", True
    yield "threads", f"{machine.thread_count()} of {machine.cpu_count()} processors", True
    yield from _bundle_finding()
    yield from _matting_finding()
    store = _store(given)
    yield "cache", f"{store.folder}, {size_text(store.size())}", True
    free = machine.free_disk(store.folder)
    yield "disk", f"{size_text(free)} free there", free > 100 * 10**6


def parse_size(text: str) -> int:
    """Bytes out of "500M", "2 GB", "0". Raises UsageError.

    >>> parse_size("1.5 GB")
    1500000000
    """
    try:
        return parse_bytes(text)
    except UsageError as error:
        raise UsageError(f"--max-size {error}") from None


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


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested plain values as lines "a.b = value"."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} = {value}"


def _agreed_place(name: str, out: Path | None, accepted: bool) -> Path:
    """Where the weights will stand. The terms are shown and must be accepted, unless weights were fetched there before.
    Raises UsageError."""
    from img2mv3d.bundles.fetch import RECORD
    from img2mv3d.bundles.manifests import fetched_folder
    from img2mv3d.bundles.upstreams import terms_of

    terms, folder = terms_of(name), out or fetched_folder() / name
    if not (folder / RECORD).exists():
        agree(terms, accepted)
    return folder


def agree(terms: Iterable[str], accepted: bool) -> None:
    """Show the terms and ask. Raises UsageError."""
    for line in terms:
        note(line)
    if not accepted and not (sys.stdin.isatty() and _says_yes("Do you accept these terms? [y/N] ")):
        raise UsageError("the terms above are not accepted; read them, then say so with --accept-licence")


def _says_yes(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def note(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


def _store(given: Mapping[str, Any]) -> Any:
    typed = {name: value for name, value in given.items() if value}
    return open_store(typed, lambda line: print(f"warning: {line}", file=sys.stderr))


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
    from img2mv3d.matting.model import find_model

    try:
        model = find_model()
        yield "matting", str(model) if model else "no U2-Netp: cluttered photos are cut out by GrabCut", True
    except Img2mv3dError as error:
        yield "matting", str(error), False


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for size, word in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:.0f} {word} ago"
    return "just now"
