"""What a run will take, before it takes it: memory and seconds of the stages that run networks.
In: a bundle, a decoder, the number of steps. Out: `Need` by stage. No weights are read: networks are made without
numbers and called once, while every tensor that lives is counted.
Why here: whether a run fits is known before gigabytes are fetched, and from the same networks that will run.
"""

from __future__ import annotations

import math
import re
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from img2mv3d.conventions import LATENT_CHANNELS, LATENT_FACTOR
from img2mv3d.errors import WeightsError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.weights import Bundle, Checkpoint, hollow

if TYPE_CHECKING:
    from img2mv3d.decoders import Decoder

CHUNK = 0.15e9  # bytes that the attention over views takes for a chunk of its pixels, at most; measured


@dataclass(frozen=True)
class Need:
    """What a stage takes. weights, work: bytes of parameters and of everything else at the worst moment. flops: of the
    whole stage. parts: in words.
    """

    stage: str
    weights: int
    work: int
    flops: float
    parts: str

    @property
    def peak(self) -> int:
        """Bytes above those of the process."""
        return self.weights + self.work

    def half(self) -> Need:
        """The same in half precision."""
        return replace(self, weights=self.weights // 2, work=self.work // 2)


def generate_need(bundle: Bundle, *, steps: int, guidance: float, at_once: bool, size: int = 256) -> Need:
    """The denoiser with guidance, both branches at once or one after the other; condition networks lie beside it."""
    unet = hollow(bundle, "unet")
    c, cells = unet.config, size // LATENT_FACTOR
    branches = 1 if guidance == 1.0 else 2
    rows = 2 * c.views * (branches if at_once else 1)
    given = ((rows, c.in_channels, cells, cells), (rows, _tokens(bundle), c.token_width), (rows, c.camera_width))
    with torch.device("meta"):
        noisy, tokens, camera = (torch.empty(shape) for shape in given)
        work, flops = metered(lambda: unet(noisy, torch.empty((), dtype=torch.long), tokens, camera))
    beside = [_bytes(hollow(bundle, part)) for part in _condition_parts(bundle)]
    calls = steps * (1 if at_once else branches)
    how = "" if branches == 1 else ", both branches at once" if at_once else ", one branch after the other"
    kept = 3 * rows * LATENT_CHANNELS * cells**2 * 4
    return Need("generate", _bytes(unet) + sum(beside), work + kept, flops * calls, f"{steps} steps{how}")


def depth_need(bundle: Bundle, size: int = 256) -> Need:
    """Plain decoding, one picture at a time."""
    decoder, cells = hollow(bundle, "plain_decoder"), size // LATENT_FACTOR
    with torch.device("meta"):
        work, flops = metered(lambda: decoder.decode(torch.empty(1, LATENT_CHANNELS, cells, cells)))
    pictures = 2 * len(SIX_VIEWS)
    return Need("depth", _bytes(decoder), work, flops * pictures, f"{pictures} pictures, one by one")


def decode_need(decoder: Decoder, size: int = 256) -> Need:
    """All views together; the attention over views in chunks."""
    from img2mv3d.nets.crossview import CrossViewDecoder

    views, cells = len(SIX_VIEWS), size // LATENT_FACTOR
    numbers = {k: tuple(v) if isinstance(v, list) else v for k, v in decoder.config.items()}
    with torch.device("meta"):
        net = CrossViewDecoder(**numbers).to("meta").eval()
        work, flops = metered(lambda: net.base.run(torch.empty(views, LATENT_CHANNELS, cells, cells)))
    return Need("decode", _bytes(net), work + int(CHUNK), flops, f"{views} views together, by {decoder.name}")


def fits(bundle: Bundle, budget: int, *, steps: int, guidance: float) -> bool:
    """At once (True) or one branch after the other (False), for a card with `budget` bytes, in half precision. Raises
    WeightsError when not even the latter fits."""
    told = {"steps": steps, "guidance": guidance}
    for at_once in (True, False):
        need = generate_need(bundle, at_once=at_once, **told).half()
        if need.peak <= budget:
            return at_once
    raise WeightsError(
        f"generate needs {need.peak / 1e9:.1f} GB of the card in half precision, --vram gives {budget / 1e9:.1f}; take "
        "--device cpu, or a smaller bundle"
    )


@torch.no_grad()
def metered(call: Callable[[], Any]) -> tuple[int, float]:
    """Bytes of the tensors that lived at the worst moment of the call, its result included, and floating point
    operations. The networks are on the meta device: no numbers are computed.
    """
    counter = FlopCounterMode(display=False)
    with _Living() as living, counter, _Attention() as attention:
        kept = call()
    del kept
    return living.most, float(counter.get_total_flops() + attention.flops)


def resident() -> int:
    """Bytes of this process as it is, with the libraries of all networks loaded."""
    import img2mv3d.nets.crossview
    import img2mv3d.nets.generator  # noqa: F401

    found = re.search(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def pace(seconds: float = 0.3) -> float:
    """Floating point operations a second of this machine as it is now: convolutions of a middle size."""
    x, w = torch.randn(2, 128, 48, 48), torch.randn(128, 128, 3, 3)
    done, begin = 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        F.conv2d(x, w, padding=1)
        done += 1
    return done * 2.0 * math.prod(x.shape) * 128 * 9 / max(spent, 1e-6)


class _Living(TorchDispatchMode):
    """Counts the bytes of all storages that were made inside and are alive; parameters were there before."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                self._known.add(tensor.untyped_storage())
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return out

    def _note(self, storage: Any) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size


class _Attention(TorchFunctionMode):
    """Attention as it runs on processors and cards: never the whole table of scores."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0.0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            q, k, v = args[:3] if len(args) >= 3 else (kwargs[n] for n in ("query", "key", "value"))
            self.flops += 2.0 * math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])
            return q.new_empty((*q.shape[:-1], v.shape[-1]))
        return func(*args, **(kwargs or {}))


def _bytes(net: Any) -> int:
    return sum(p.numel() * 4 for p in net.parameters())


def _tokens(bundle: Bundle) -> int:
    return 1 if isinstance(bundle, Checkpoint) else 4


def _condition_parts(bundle: Bundle) -> tuple[str, ...]:
    return ("encoder", "image_encoder") if isinstance(bundle, Checkpoint) else ("encoder", "tokens")
