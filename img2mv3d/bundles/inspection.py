"""Inspection of a folder of published weights without reading its numbers: names, shapes, sizes, faults.

In: a checkpoint's folder, a VAE's folder, one file. Out: findings, a line each. It works where a network of full size
does not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from img2mv3d.bundles import convert
from img2mv3d.errors import WeightsError

VAES = {"AutoencoderKL": "sd_vae", "AutoencoderKLTemporalDecoder": "svd"}  # by _class_name in config.json
SAFE_KINDS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "I64": "int64"}


class Held(NamedTuple):
    """What a file of weights holds. shapes: by name. kinds: number formats, such as float16."""

    shapes: dict[str, tuple[int, ...]]
    kinds: tuple[str, ...]


class Finding(NamedTuple):
    """part: unet, vae, ... . text: what was found, one line. good: whether it will load."""

    part: str
    text: str
    good: bool


def read_shapes(path: Path) -> Held:
    """Names, shapes and formats of a .safetensors, .bin, .pt or .pth file; of the numbers nothing is read, and no code
    of the file runs. Raises WeightsError when it is damaged or holds something else than named tensors.
    """
    if path.suffix != ".safetensors":
        tensors = convert.read_tensors(path, mapped=True)
        return Held(convert.shapes_of(tensors), _told({str(t.dtype).removeprefix("torch.") for t in tensors.values()}))
    from safetensors import safe_open

    try:
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            return Held(shapes, _told({SAFE_KINDS.get(s.get_dtype(), s.get_dtype()) for s in slices.values()}))
    except Exception as error:  # the reader's own kinds; all mean the same to the user
        raise WeightsError(f"{path}: {convert.unreadable(error)}") from None


def is_foreign(folder: Path) -> bool:
    """Is this a checkpoint, a VAE's folder, or one that means to be such? `findings` then tells what is wrong."""
    return _upstream_of(folder) is not None


def is_video_decoder(folder: Path) -> bool | None:
    """Is the autoencoder in this folder (or in its vae/) SVD's? None when there is none that img2mv3d knows."""
    place = folder / "vae" if (folder / "vae" / "config.json").is_file() else folder
    upstream = _upstream_of(place) if (place / "config.json").is_file() else None
    return None if upstream not in VAES.values() else upstream == "svd"


def findings(folder: Path) -> Iterator[Finding]:
    """One finding for each part that should be in the folder; no fault keeps the others from being told."""
    upstream = _upstream_of(folder)
    if upstream is None:
        raise WeightsError(f"{folder}: no weights that img2mv3d knows (no unet, no vae)")
    layout = convert.read_table(upstream, "layout")
    for part, names in layout["files"].items():
        place = folder if part == "vae" and (folder / "config.json").is_file() else folder / part
        try:
            yield Finding(part, _part(upstream, part, place, names, layout), True)
        except WeightsError as error:
            yield Finding(part, str(error), False)
    if "scheduler" in layout:
        path = folder / "scheduler" / "scheduler_config.json"
        try:
            if path.exists():
                convert.expect(convert.read_config(path), layout["scheduler"]["expected"], path)
            yield Finding("scheduler", "as trained" if path.exists() else "none; the known noise levels are used", True)
        except WeightsError as error:
            yield Finding("scheduler", str(error), False)


def _upstream_of(folder: Path) -> str | None:
    if (folder / "unet").is_dir() or (folder / "image_encoder").is_dir():
        return "wonder3d"
    for place in (folder, folder / "vae"):
        if (place / "config.json").is_file():
            try:
                kind = convert.read_config(place / "config.json").get("_class_name")
            except WeightsError:
                kind = None
            return VAES.get(str(kind), "sd_vae" if place.name == "vae" else None)
    return "sd_vae" if (folder / "vae").is_dir() else None


def _part(upstream: str, part: str, place: Path, names: list[str], layout: Mapping[str, Any]) -> str:
    """The text of a part that is good. Raises WeightsError."""
    path = convert.first_of(place, names)
    config = convert.read_config(place / "config.json")
    held = read_shapes(path)
    found, notes = held.shapes, []
    for rules in _rules(upstream, part):
        renamed = convert.rename(found, rules, str(path))
        notes += ["names of an earlier release"] if len(set(renamed) - set(found)) and not notes else []
        found = renamed
    expected = _expected(upstream, part, config, layout, place / "config.json")
    if expected is None:
        notes.append("shapes not checked: pip install 'img2mv3d[wonder3d]'")
    else:
        convert.check_shapes(expected, found, str(path))
    numbers = sum(prod(shape) for shape in found.values())
    what = [
        size["what"]
        for size in layout["published"].get(part, ())
        if size["parameters"] == numbers and size.get("keys", len(found)) == len(found)
    ]
    notes += what or ["of no published size"]
    return f"{path.name}, {len(found)} tensors, {numbers:,} numbers, {' and '.join(held.kinds)}; {'; '.join(notes)}"


def _rules(upstream: str, part: str) -> list[dict[str, Any]]:
    """Renaming alone, nothing left out but what names.toml drops: what is spare must show."""
    tables = convert.read_table(upstream, "names")
    wanted = ("plain_decoder",)
    if upstream == "wonder3d":
        wanted = ("vae_encoder", "vae_decoder") if part == "vae" else (part,)
    found = [tables[name] for name in wanted if name in tables]
    return [{"drop": r.get("drop", ()), "replace": [p for p in r.get("replace", ()) if p[1]]} for r in found]


def _expected(
    upstream: str, part: str, config: Mapping[str, Any], layout: Mapping[str, Any], where: Path
) -> dict[str, tuple[int, ...]] | None:
    """Names and shapes of the networks that the config describes, made without memory; None where a library lacks."""
    import torch

    modules: list[torch.nn.Module]
    try:
        with torch.device("meta"):
            if part == "unet":
                from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig

                numbers = convert.unet_numbers(config, layout["unet"], str(where))
                modules = [MultiViewUNet(UNetConfig.from_dict(numbers))]
            elif part == "image_encoder":
                from img2mv3d.nets.clip import make_clip

                try:
                    modules = [make_clip(config)]
                except WeightsError:
                    return None
            else:
                convert.expect(config, layout["vae"]["expected"], where)
                modules = _halves(upstream, config)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{where}: {type(error).__name__} {error}; is this the config of a {part}?") from None
    return {k: tuple(t.shape) for m in modules for k, t in m.state_dict().items()}


def _halves(upstream: str, config: Mapping[str, Any]) -> list[Any]:
    if upstream == "svd":
        from diffusers import AutoencoderKLTemporalDecoder

        known = ("down_block_types", "block_out_channels", "layers_per_block", "latent_channels")
        return [AutoencoderKLTemporalDecoder(**{k: config[k] for k in known})]
    from img2mv3d.nets.clip import SdDecoder, SdEncoder

    return [SdEncoder(config), SdDecoder(config)]


def _told(kinds: set[str]) -> tuple[str, ...]:
    return tuple(sorted(kinds - {"int64"})) or ("no numbers",)
