"""A graphics card that is not there: tensors moved to it compute as on the processor, and mixing the two is an error.

It is called "meta", the one other device that torch names without a driver. What holds on it holds on a real card as
far as places go: every tensor of an operation on one device, no numpy, random numbers drawn on the processor. It says
nothing of speed, precision and kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CARD = torch.device("meta")
MOVES = {"aten::_to_copy", "aten::copy_"}
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_"}  # indices may lie on the processor


class OnCard(torch.Tensor):
    """A tensor that says it is on `CARD`. inner: its numbers."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnCard:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype
        )
        made.inner = inner
        return made

    @property
    def device(self) -> torch.device:
        return CARD

    def __repr__(self, **_: Any) -> str:
        return f"OnCard({self.inner})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.to:
            return _moved(*args, **kwargs)
        if func is torch.Tensor.cpu:
            return _moved(args[0], "cpu")
        if func is torch.Tensor.tolist:
            return args[0].inner.tolist()
        if func is torch.Tensor.new_tensor:
            return OnCard(args[0].inner.new_tensor(*args[1:], **kwargs))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Card(TorchDispatchMode):
    """Sees what no argument on the card would tell: moves to it, and tensors made there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Given(TorchFunctionMode):
    """Tensors that are made of numbers on the card."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        place = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and place is not None and torch.device(place) == CARD:
            return OnCard(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)


@contextmanager
def card() -> Iterator[torch.device]:
    """Inside, `.to(CARD)` and `device=CARD` work."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # no wrapper may slip into a plain parameter
    try:
        with _Card(), _Given():
            yield CARD
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def _moved(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """`Tensor.to`, which asks below Python where a tensor is."""
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for word in args:
        if isinstance(word, torch.Tensor):
            device, dtype = word.device, word.dtype
        elif isinstance(word, torch.dtype):
            dtype = word
        elif isinstance(word, (str, torch.device)):
            device = torch.device(word)
    device = tensor.device if device is None else torch.device(device)
    if device == tensor.device and dtype in (None, tensor.dtype):
        return tensor
    return torch.ops.aten._to_copy.default(tensor, dtype=dtype, device=device)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    on_card = any(isinstance(t, OnCard) for t in tensors)
    if on_card and name not in MOVES:
        strangers = [t for t in tensors if not isinstance(t, OnCard) and t.ndim]
        if name in INDEXING and isinstance(args[0], OnCard):
            strangers = [t for t in strangers if t.dtype not in (torch.int64, torch.bool)]
        if strangers:
            shape = tuple(strangers[0].shape)
            raise RuntimeError(f"{name}: tensors on two devices; one of {shape} is not on the card")
    wanted = None if name.startswith("aten::new_") else kwargs.get("device")  # autograd's own says the processor
    target = on_card if wanted is None else torch.device(wanted).type == CARD.type
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner = func(*tree_map(_unwrap, args), **tree_map(_unwrap, kwargs))
    if func._schema.is_mutable and name not in ("aten::_to_copy",):
        changed = [a for a, told in zip(args, func._schema.arguments, strict=False) if _written(told)]
        if len(changed) == 1 and isinstance(changed[0], torch.Tensor) and isinstance(inner, torch.Tensor):
            return changed[0]
        if inner is None:
            return None
    return tree_map(lambda t: OnCard(t) if target and isinstance(t, torch.Tensor) else t, inner)


def _written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _unwrap(value: Any) -> Any:
    return value.inner if isinstance(value, OnCard) else value
