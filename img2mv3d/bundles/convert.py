"""Weights of other projects under this package's names: read without running code, renamed by a table, loaded strictly.

In: .safetensors or .bin files, tables of third_party/<upstream>/. Out: state dicts under our names, network configs,
loaded modules. What is particular to an upstream lies in tables beside its licence, not in code.
"""

from __future__ import annotations

import contextlib
import json
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from img2mv3d.bundles.manifests import data_folder
from img2mv3d.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
SHOWN = 4  # names in a message
DAMAGED = "the file is damaged, fetch it again"
FOREIGN = "these are weights of another network: give file and config.json of one and the same checkpoint"
INCOMPLETE = "the file is incomplete or its config.json is of a larger network: fetch both again"


def read_table(upstream: str, table: str) -> dict[str, Any]:
    """third_party/<upstream>/<table>.toml: from the installed package, else from the checkout. Raises WeightsError."""
    path = data_folder("_upstream", "third_party") / upstream / f"{table}.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(
            f"third_party/{upstream}/{table}.toml cannot be read ({error}); install img2mv3d again"
        ) from None


def read_tensors(path: Path, *, mapped: bool = False) -> dict[str, Tensor]:
    """All tensors (of any shape and type) of a .safetensors file, or of a pickled .bin / .pt / .pth (weights only: no
    code of the file runs). mapped: leave the numbers of a pickled file on the disk until they are looked at.

    Raises WeightsError when the file is damaged or holds something else than named tensors.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        mapped = mapped and zipfile.is_zipfile(path)  # what torch wrote before 2020 cannot be mapped
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file; fetch the weights again") from None
    except Exception as error:  # the readers raise many kinds; all mean the same to the user
        raise WeightsError(f"{path}: {unreadable(error)}") from None
    if not isinstance(tensors, dict) or not all(isinstance(t, torch.Tensor) for t in tensors.values()):
        raise WeightsError(f"{path}: expected a dict of named tensors; give a weights file, not a training state")
    return tensors


def unreadable(error: Exception) -> str:
    """What a reader's error means, in words."""
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return f"cannot be read as weights ({reason}); fetch it again"


def read_config(path: Path) -> dict[str, Any]:
    """A config.json. Raises WeightsError when there is none or it is no table."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise WeightsError(f"{path}: cannot be read ({reason}); fetch the checkpoint again") from None
    if not isinstance(config, dict):
        raise WeightsError(f"{path}: holds no names and values; fetch the checkpoint again")
    return config


def expect(config: Mapping[str, Any], expected: Mapping[str, Any], path: Path) -> None:
    """Raises WeightsError when the config has a value that is not among those that our networks know."""
    for name, values in expected.items():
        if name in config and config[name] not in values:
            raise WeightsError(f"{path}: {name} is {config[name]!r}, only {_some(values)} is supported")


def first_of(folder: Path, names: Iterable[str]) -> Path:
    """The first of the files that is there. Raises WeightsError when none is."""
    path = next((folder / n for n in names if (folder / n).exists()), None)
    if path is None:
        raise WeightsError(f"{folder}: no weights; expected {' or '.join(names)}; fetch the checkpoint again")
    return path


def rename(tensors: Mapping[str, T], rules: Mapping[str, Any], where: str) -> dict[str, T]:
    """The same tensors (or their shapes), untouched, under our names. rules: `drop`, names to leave out; `keep`,
    prefixes to take (all, if absent); `replace`, pairs (theirs, ours) of parts of names, each tried once, in order.
    Raises WeightsError when two tensors get one name."""
    renamed: dict[str, T] = {}
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


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], where: str, *, take: bool = False) -> None:
    """Load in the module's own precision. Raises WeightsError that names what is missing, spare or of another shape,
    or not finite; the module is then as it was. take: the tensors themselves become the module's, as they are, so that
    nothing large is in memory twice.
    """
    check_shapes(shapes_of(module.state_dict()), shapes_of(tensors), where)
    check_finite(tensors, where)
    module.load_state_dict(dict(tensors), assign=take)


@contextlib.contextmanager
def unfilled() -> Iterator[None]:
    """Networks made inside get no random numbers, which take time and memory, for strict loading to replace them."""
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "").endswith(("uniform_", "normal_")):  # a tensor's, or torch.nn.init's
                return args[0] if args else kwargs["tensor"]
            return func(*args, **(kwargs or {}))

    with Unfilled():
        yield


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raises WeightsError that names the tensors that hold NaN or infinite numbers."""
    import torch

    broken = [k for k, t in tensors.items() if t.is_floating_point() and not torch.isfinite(t).all()]
    if broken:
        raise WeightsError(f"{where}: {len(broken)} tensors not finite: {_some(broken)}; {DAMAGED}")


def check_shapes(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Raises WeightsError, one line with every kind of difference and what to do, unless names and shapes are equal."""
    missing = [k for k in expected if k not in found]
    spare = [k for k in found if k not in expected]
    other = [
        f"{k} is {tuple(found[k])}, expected {tuple(expected[k])}"
        for k in expected
        if k in found and tuple(found[k]) != tuple(expected[k])
    ]
    kinds = (("missing", missing), ("spare", spare), ("of another shape", other))
    told = "; ".join(f"{len(names)} tensors {fault}: {_some(names)}" for fault, names in kinds if names)
    if told:
        raise WeightsError(f"{where}: {told}; {FOREIGN if other or spare else INCOMPLETE}")


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of each tensor."""
    return {k: tuple(t.shape) for k, t in tensors.items()}


def unet_numbers(config: Mapping[str, Any], layout: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Our `UNetConfig`'s numbers out of Wonder3D's config.json. layout: the [unet] table of layout.toml.

    Flags exist under old and new names; the new one decides. Raises WeightsError on a value that our network does not
    know.
    """
    expect(config, layout["expected"], Path(where))
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
