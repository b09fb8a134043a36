"""Download or import of published weights into the weights folder; every file is verified before it gets its name.

In: an upstream of third_party/, a place. Out: a folder with fetched.json, which holds commit, sizes and sha256. The
bytes come through `hub`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from img2mv3d.bundles.convert import read_table
from img2mv3d.bundles.hub import Listing, Say, Wanted, bring, is_wanted, list_hub, writing
from img2mv3d.errors import ResourceError, UsageError, WeightsError
from img2mv3d.files.durable import (
    Damaged,
    copy_durably,
    digest_file,
    make_folder,
    read_sealed,
    sync_folder,
    waiting_lock,
    write_sealed,
)
from img2mv3d.files.forms import ANY, fits

RECORD = "fetched.json"
FORMAT = "img2mv3d-fetched/1"
OPTIONAL = {"feature_extractor": ("preprocessor_config.json",), "scheduler": ("scheduler_config.json",)}
ROOM = 100 << 20  # bytes that stay free beside what is fetched


def fetch(
    upstream: str, folder: Path, *, revision: str = "", offline: bool = False, say: Say = lambda line: None
) -> Path:
    """The upstream's weights in `folder`, all there and all verified; what is there already is not fetched again.

    revision: a commit or branch; else the pinned one, else the newest. offline (or HF_HUB_OFFLINE): no socket is
    opened. HF_ENDPOINT names a mirror, HF_TOKEN an account. Partial files are kept, and the next call goes on from
    there; the folder itself appears when it is complete. Raises WeightsError, ResourceError when the disk is full,
    UsageError when something else stands in `folder`.
    """
    pinned = read_table(upstream, "upstream")["weights"]
    wanted = revision or pinned["revision"]
    if _is_here(upstream, folder, wanted, say):
        return folder
    if offline or _told_offline():
        raise WeightsError(
            f"{folder}: {_lack(upstream, folder)}; nothing is fetched offline: go online once, or "
            f"`img2mv3d weights import DIR` takes a copy"
        )
    _refuse_strangers(folder)
    make_folder(folder.parent)
    with _alone(folder.with_name(f".img2mv3d-fetch-{folder.name}.lock"), say):
        if _is_here(upstream, folder, wanted, say):  # another process was quicker
            return folder
        if not wanted:
            say("this version of img2mv3d pins no commit of it: the newest is taken, and written down")
        listing = list_hub(pinned["repository"], wanted)
        files = _chosen(upstream, listing, pinned)
        draft = folder.with_name(f".img2mv3d-fetch-{folder.name}-{listing.commit[:16]}.part")
        _check_room(draft, files)
        for file in files:
            if not _reused(folder / file.name, draft / file.name, file):
                say(f"{file.name}, {file.size / 1e6:,.1f} MB")
                bring(file, draft / file.name, listing, say)
        _publish(draft, folder, upstream, {"repository": pinned["repository"], "commit": listing.commit}, files)
    return folder


def take(upstream: str, source: Path, folder: Path, *, say: Say = lambda line: None) -> Path:
    """A copy of weights that somebody has already, in the place and with the record that `fetch` makes. source: the
    published folder, or the folder of its only part. Raises WeightsError when something is missing or does not fit,
    UsageError when something else stands in `folder`."""
    from img2mv3d.bundles.inspection import findings

    wrong = [f"{part}: {text}" for part, text, good in findings(source) if not good] if source.is_dir() else []
    if not source.is_dir() or wrong:
        absent = f"{source}: no such folder; give one with unet/, vae/, image_encoder/"
        raise WeightsError(wrong[0] if wrong else absent)
    _refuse_strangers(folder)
    make_folder(folder.parent)
    pinned = read_table(upstream, "upstream")["weights"]
    with _alone(folder.with_name(f".img2mv3d-fetch-{folder.name}.lock"), say):
        draft = folder.with_name(f".img2mv3d-fetch-{folder.name}-import.part")
        shutil.rmtree(draft, ignore_errors=True)
        parts = pinned["parts"]
        bare = len(parts) == 1 and (source / "config.json").is_file()
        found = {name: source / (name.removeprefix(f"{parts[0]}/") if bare else name) for name in _possible(upstream)}
        names = _names(upstream, lambda name: found[name].is_file(), str(source))
        files = [Wanted(name, found[name].stat().st_size, pinned["sha256"].get(name, "")) for name in names]
        try:
            _check_room(draft, files)
            for file in files:
                say(file.name)
                copied = copy_durably(found[file.name], draft / file.name)
                if file.sha256 not in ("", copied["sha256"]):
                    raise WeightsError(f"{found[file.name]}: not the published file (sha256 differs); fetch it again")
            _publish(draft, folder, upstream, {"imported": True}, files)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def faults(folder: Path) -> list[str]:
    """What is wrong with a fetched folder, a line each: no record, files missing or changed. Every byte is read."""
    try:
        record = read_sealed(folder / RECORD)
    except FileNotFoundError:
        return [f"{RECORD} is missing"]
    except (Damaged, OSError) as error:
        return [f"{RECORD} is damaged ({error})"]
    if not fits(record, {"files": {ANY: {"size": int, "sha256": str}}}):
        return [f"{RECORD} is not as it was written"]
    wrong = []
    for name, told in record["files"].items():
        try:
            if (folder / name).stat().st_size != told["size"] or digest_file(folder / name) != told["sha256"]:
                wrong.append(f"{name} is damaged")
        except OSError:
            wrong.append(f"{name} is missing")
    return wrong


def _chosen(upstream: str, listing: Listing, pinned: Mapping[str, Any]) -> list[Wanted]:
    """The files to bring, each with what it is held against: our pin if there is one, else what the hub lists."""
    names = _names(upstream, lambda name: name in listing.files, pinned["repository"])
    files = []
    for name in names:
        file, pin = listing.files[name], pinned["sha256"].get(name, "")
        if pin and listing.commit == pinned["revision"]:
            file = Wanted(name, file.size, pin)
        if not file.sha256 and not file.blob:
            raise WeightsError(f"{name}: the hub lists no digest, so nothing can be checked; look at HF_ENDPOINT")
        files.append(file)
    return files


def _names(upstream: str, there: Callable[[str], bool], where: str) -> list[str]:
    """Files that the upstream consists of, out of those that are there. Raises WeightsError when a part is missing."""
    names = []
    for part, kinds in read_table(upstream, "layout")["files"].items():
        found = next((f"{part}/{kind}" for kind in kinds if there(f"{part}/{kind}")), None)
        config = f"{part}/config.json"
        if found is None or not there(config):
            lack = config if found else f"{part}/{' or '.join(kinds)}"
            raise WeightsError(f"{where}: has no {lack}; look at --revision, or give a complete copy")
        names += [config, found]
    return [*(name for name in _optional(upstream) if there(name)), *names]


def _optional(upstream: str) -> list[str]:
    parts = read_table(upstream, "upstream")["weights"]["parts"]
    return [f"{part}/{name}" for part, kinds in OPTIONAL.items() if part in parts for name in kinds]


def _possible(upstream: str) -> list[str]:
    """Every file that the upstream may consist of."""
    parts = read_table(upstream, "layout")["files"].items()
    return [*_optional(upstream), *(f"{part}/{name}" for part, kinds in parts for name in ("config.json", *kinds))]


def _check_room(draft: Path, files: list[Wanted]) -> None:
    """Raises ResourceError when what is still to come does not fit."""
    have = sum(p.stat().st_size for p in draft.rglob("*") if p.is_file()) if draft.is_dir() else 0
    need = sum(file.size for file in files) - have + ROOM
    free = shutil.disk_usage(draft.parent).free
    if need > free:
        raise ResourceError(
            f"{draft.parent}: {need / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free; make room, or name another place "
            "with IMG2MV3D_WEIGHTS"
        )


def _reused(old: Path, new: Path, file: Wanted) -> bool:
    """Is the file in the draft, verified? One that is good in the folder is taken from there."""
    if new.is_file() and new.stat().st_size == file.size and is_wanted(new, file):
        return True
    new.unlink(missing_ok=True)
    if not (old.is_file() and old.stat().st_size == file.size and is_wanted(old, file)):
        return False
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except OSError:  # a file system without links
        copy_durably(old, new)
    return True


def _publish(draft: Path, folder: Path, upstream: str, origin: Mapping[str, Any], files: list[Wanted]) -> None:
    """Write the record, then give the draft its name; what stood there goes."""
    told = {file.name: {"size": file.size, "sha256": file.sha256 or digest_file(draft / file.name)} for file in files}
    with writing(draft):
        write_sealed(draft / RECORD, {"format": FORMAT, "upstream": upstream, **origin, "files": told})
        for place in (*(p for p in draft.iterdir() if p.is_dir()), draft):
            sync_folder(place)
        _remove_former(folder)
        if folder.exists():
            os.replace(folder, _former(folder))
        os.replace(draft, folder)
        sync_folder(folder.parent)
    _remove_former(folder)


def _former(folder: Path) -> Path:
    """Where the folder's former content stands while another takes its place."""
    return folder.with_name(f".img2mv3d-fetch-{folder.name}-old")


def _remove_former(folder: Path) -> None:
    if _former(folder).exists():  # gigabytes, where a process ended between
        shutil.rmtree(_former(folder), ignore_errors=True)
        sync_folder(folder.parent)


def _is_here(upstream: str, folder: Path, revision: str, say: Say) -> bool:
    """Is the folder complete, and of the wanted commit (of any, if "")? A branch's name always asks the hub."""
    if not (folder / RECORD).is_file() or faults(folder):
        return False
    record = read_sealed(folder / RECORD)
    if record.get("upstream") != upstream or revision not in ("", record.get("commit", "")):
        return False
    _remove_former(folder)
    say(f"{folder}: all {len(record['files'])} files are here and verified")
    return True


def _lack(upstream: str, folder: Path) -> str:
    """Why a folder will not do."""
    wrong = faults(folder) if folder.is_dir() else []
    return "; ".join(wrong[:3]) if wrong else "another revision is here" if folder.is_dir() else "not here"


def _refuse_strangers(folder: Path) -> None:
    if folder.exists() and not (folder / RECORD).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder}: holds something that was not fetched; move it away, or give another folder with -o"
        )


@contextlib.contextmanager
def _alone(path: Path, say: Say) -> Iterator[None]:
    """One process at a time; where a system has no such locks, the digests alone must tell."""
    with waiting_lock(path, -1, lambda: say("another process fetches the same; waiting for it")):
        yield


def _told_offline() -> bool:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)
