"""Foreign tensors in our words: read files without running them, rename by a table, load strictly.
In: .safetensors or .bin files, tables of third_party/<upstream>/. Out: state dicts under our names, network configs,
loaded modules.
Why here: `weights` reads every file through it; what is particular to an upstream lies in tables beside its licence,
not in code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d.errors import WeightsError
from img2mv3d.manifests import data_folder

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN = 4  # names in a message


def read_table(upstream: str, table: str) -> dict[str, Any]:
    """third_party/<upstream>/<table>.toml: from the installed package, else from the checkout. Raises WeightsError."""
    path = data_folder("_upstream", "third_party") / upstream / f"{table}.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"third_party/{upstream}/{table}.toml cannot be read ({error}); install img2mv3d again"
        ) from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors (of any shape and type) of a .safetensors file, or of a pickled .bin / .pt / .pth (weights only: no
    code of the file runs).

    Raises WeightsError when the file is damaged or holds something else than named tensors.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file; fetch the weights again") from None
    except Exception as error:  # the readers raise many kinds; all mean the same to the user
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: cannot be read as weights ({reason}); fetch it again") from None
    if not isinstance(tensors, dict) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise WeightsError(f"{path}: expected a dict of named tensors; give a weights file, not a training state")
    return tensors


def rename(tensors: Mapping[str, Tensor], rules: Mapping[str, Any], where: str) -> dict[str, Tensor]:
    """The same tensors, shapes untouched, under our names. rules: `drop`, names to leave out; `keep`, prefixes to take
    (all, if absent); `replace`, pairs (theirs, ours) of parts of names, each tried once, in order. Raises WeightsError
    when two tensors get one name."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in rules.get("drop", ()) or not name.startswith(tuple(rules.get("keep", ("",)))):
            continue
        ours = name
        for theirs, replacement in rules.get("replace", ()):
            ours = ours.replace(theirs, replacement)
        if ours in renamed:
            raise WeightsError(f"{where}: two tensors mean {ours}; one file holds old and new names")
        renamed[ours] = tensor
    return renamed


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load in the module's own precision. Raises WeightsError that names what is missing, spare or of another shape,
    or not finite.
    """
    import torch

    own = module.state_dict()
    shapes = [
        f"{k} is {tuple(tensors[k].shape)}, expected {tuple(own[k].shape)}"
        for k in own
        if k in tensors and tensors[k].shape != own[k].shape
    ]
    for fault, found in (
        ("missing", [k for k in own if k not in tensors]),
        ("spare", [k for k in tensors if k not in own]),
        ("of another shape", shapes),
        ("not finite", [k for k, t in tensors.items() if t.is_floating_point() and not torch.isfinite(t).all()]),
    ):
        if found:
            raise WeightsError(
                f"{where}: {len(found)} tensors {fault}: {_some(found)}; these are weights of another network"
            )
    module.load_state_dict(dict(tensors))


def unet_numbers(config: Mapping[str, Any], layout: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Our `UNetConfig`'s numbers out of Wonder3D's config.json. layout: the [unet] table of layout.toml.

    Flags exist under old and new names; the new one decides. Raises WeightsError on a value that our network does not
    know.
    """
    for name, values in layout["expected"].items():
        if name in config and config[name] not in values:
            raise WeightsError(f"{where}: {name} is {config[name]!r}, only {_some(values)} is supported")
    try:
        channels = list(config["block_out_channels"])
        heads = config["attention_head_dim"]
        down, up = config["down_block_types"], config["up_block_types"]
        attends = ["Cross" in name for name in down]
        if attends != ["Cross" in name for name in reversed(up)] or len(attends) != len(channels):
            raise WeightsError(f"{where}: down and up blocks do not mirror each other")
        reach = "sparse" if config.get("sparse_mv_attention") else "views" if config["multiview_attention"] else "self"
        return {
            "channels": channels,
            "reach": [reach if a else "off" for a in attends] + [reach],
            "heads": heads if isinstance(heads, list) else [heads] * len(channels),
            "token_width": config["cross_attention_dim"],
            "layers": config["layers_per_block"],
            "groups": config["norm_num_groups"],
            "camera_width": config["projection_class_embeddings_input_dim"],
            "views": config["num_views"],
            "in_channels": config["in_channels"],
            "out_channels": config["out_channels"],
            **{ours: _flag(config, names) for ours, names in layout["flags"].items()},
        }
    except KeyError as error:
        raise WeightsError(f"{where}: lacks {error}; is this the config of a Wonder3D UNet?") from None


def _flag(config: Mapping[str, Any], names: Iterable[str]) -> bool:
    return next((bool(config[name]) for name in names if name in config), False)


def _some(names: Iterable[Any]) -> str:
    names = [str(n) for n in names]
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
