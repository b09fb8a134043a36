"""Manifests of bundles: read and checked, written as TOML, and the digest over the files they list.

In: a folder. Out: plain values. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from img2mv3d import machine
from img2mv3d.errors import WeightsError
from img2mv3d.files.forms import ANY, fits

FORMAT = "img2mv3d-bundle/1"
MANIFEST = "manifest.toml"
FORM = {
    **{"name?": str, "framing_px?": int, "licence?": str, "latent_space?": str, "generate?": dict},
    "parts?": {ANY: {"file?": str, "sha256?": str, "config?": dict}},
}
PARTS = ("shape", "encoder", "plain_decoder", "crossview_decoder", "tokens", "unet")
WHOLE = 64 << 20  # bytes; of larger files the digest takes the size and slices, or a cached run would read gigabytes
SLICES, SLICE = 16, 1 << 20


def data_folder(packed: str, original: str) -> Path:
    """Where a folder of data lies: in the installed package as `packed`, in a checkout beside it as `original`."""
    package = Path(__file__).parents[1]
    inside = package / packed
    return inside if inside.is_dir() else package.parent / original


def fetched_folder() -> Path:
    """Where fetched weights stand: IMG2MV3D_WEIGHTS, else the place that this system has for a user's data."""
    if named := os.environ.get("IMG2MV3D_WEIGHTS"):
        return Path(os.path.expanduser(named))
    return machine.own_place("data") / "weights"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of the bundle in `folder`. Raises WeightsError when it cannot be read or lacks what every bundle
    has.
    """
    path = folder / MANIFEST
    try:
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); fetch the bundle again") from None
    if manifest.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: format {manifest.get('format')!r}, expected {FORMAT!r}; fetch a bundle of this version"
        )
    missing = {"name", "framing_px", "parts"} - set(manifest)
    if not fits(manifest, FORM):
        raise WeightsError(
            f"{path}: name, framing_px, parts or generate are not as they must be; fetch the bundle again"
        )
    bare = [n for n, e in manifest.get("parts", {}).items() if not {"file", "sha256"} <= set(e) or n not in PARTS]
    if missing or bare:
        raise WeightsError(f"{path}: lacks {', '.join(sorted(missing)) or 'file or sha256 of ' + ', '.join(bare)}")
    escaping = [e["file"] for e in manifest["parts"].values() if Path(e["file"]).name != e["file"]]
    if escaping:
        raise WeightsError(f"{path}: {escaping[0]} is not a file name; parts lie beside the manifest")
    return manifest


def header_of(config: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a file of weights says of itself, for whoever has it without its manifest: config, the data's digest, the
    training. One entry, since several would come in any order, and equal files must have equal bytes."""
    told = {"config": config, "data": manifest.get("data", {}).get("digest"), "training": manifest.get("training")}
    return {"img2mv3d": json.dumps(told, sort_keys=True)}


def digest_of(folder: Path, files: Iterable[Path]) -> str:
    """sha256 over names and contents (of files above `WHOLE`: size and evenly spread slices), hexadecimal. Raises
    WeightsError when one cannot be read."""
    total = hashlib.sha256()
    for relative in files:
        path = folder / relative
        try:
            size = path.stat().st_size
            total.update(f"{relative.as_posix()}\0{size}\0".encode())
            with path.open("rb") as file:
                if size <= WHOLE:
                    total.update(file.read())
                    continue
                for i in range(SLICES):
                    file.seek((size - SLICE) * i // (SLICES - 1))
                    total.update(file.read(SLICE))
        except OSError as error:
            raise WeightsError(
                f"{path}: cannot be read ({error.strerror}); install or fetch the bundle again"
            ) from None
    return total.hexdigest()


def to_toml(values: Mapping[str, Any]) -> str:
    """TOML of plain values in the order given, tables last; None is left out."""
    return "\n".join(_lines(values, ())) + "\n"


def _lines(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {k: v for k, v in values.items() if v is not None and not isinstance(v, Mapping)}
    tables = {k: v for k, v in values.items() if isinstance(v, Mapping)}
    lines = [f"{_key(k)} = {_value(v)}" for k, v in plain.items()]
    if path and (lines or not tables):
        lines.insert(0, f"\n[{'.'.join(_key(p) for p in path)}]")
    for name, table in tables.items():
        lines += _lines(table, (*path, name))
    return lines


def _key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name) else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(v) for v in value)}]"
    raise WeightsError(f"a manifest holds plain values only, found {type(value).__name__}")
