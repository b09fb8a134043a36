"""Estimates of a run's memory and time: what the stages with networks need, before the run starts.

In: a bundle, a decoder, the number of steps. Out: `Need` by stage. No weights are read: the networks that would run are
made on the meta device and called once, while every live tensor is counted.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from img2mv3d import machine
from img2mv3d.bundles.weights import Bundle, Checkpoint, skeleton
from img2mv3d.conventions import LATENT_CHANNELS, LATENT_FACTOR
from img2mv3d.errors import WeightsError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.window import MARGIN, STEP, Window

if TYPE_CHECKING:
    from img2mv3d.bundles.decoders import Decoder

# Without networks, measured (medians of seven photos, seconds as in docs/benchmarks.md): seconds, and bytes above those
# of a process with the networks' libraries; the fits at the grids of the standard plan.
PREPARE = (1.7, 0.22e9)  # before these libraries: all bytes
QUICK_FIT, FINAL_FIT, EXPORT = (2.5, 0.25e9), (6.1, 0.45e9), (2.6, 0.50e9)
COVERED = 0.25  # of a picture: what the object covers, and the attention over views computes; photos vary
LARGE = 32 << 20  # bytes: a tensor of this size gets new pages of the system, zeroed one by one as they are met;
KEPT = 64 << 20  # so does any other while more than this is alive; below it, what was freed is used again, for nothing
LOADED = 0.4e9  # bytes of parameters in fp32 that are read, checked and taken in a second, measured


class Cost(NamedTuple):
    """What a call costs. most: bytes of tensors and scratch at the worst moment. flops: floating point operations.
    fresh: bytes of new pages, see LARGE."""

    most: int
    flops: float
    fresh: float


class Pace(NamedTuple):
    """What a machine does in a second. flops: operations. fresh: bytes of new pages."""

    flops: float
    fresh: float


@dataclass(frozen=True)
class Need:
    """What a stage takes. weights, work: bytes of parameters and of everything else at the worst moment. flops, fresh:
    of the whole stage, see `Cost`. parts: in words.
    """

    stage: str
    weights: int
    work: int
    flops: float
    parts: str
    fresh: float = 0.0

    @property
    def peak(self) -> int:
        """Bytes above those of the process."""
        return self.weights + self.work

    @property
    def loading(self) -> float:
        """Seconds until the weights stand in memory."""
        return self.weights / LOADED

    def seconds(self, pace: Pace) -> float:
        """Of one thread of a machine of that pace, once the weights are loaded."""
        return self.flops / pace.flops + self.fresh / pace.fresh

    def half(self) -> Need:
        """The same in half precision."""
        return replace(self, weights=self.weights // 2, work=self.work // 2)


def generate_need(bundle: Bundle, *, steps: int, guidance: float, at_once: bool, size: int = 256) -> Need:
    """The denoiser with guidance, both branches at once or one after the other; condition networks lie beside it."""
    unet = skeleton(bundle, "unet")
    c, cells = unet.config, size // LATENT_FACTOR
    branches = 1 if guidance == 1.0 else 2
    rows = 2 * c.views * (branches if at_once else 1)
    window = _window(bundle, cells)
    height = cells if window is None else window.height
    given = ((rows, c.in_channels, height, cells), (rows, _tokens(bundle), c.token_width), (rows, c.camera_width))
    with torch.device("meta"):
        noisy, tokens, camera = (torch.empty(shape) for shape in given)
        told = {} if window is None else {"window": window}
        one = metered(lambda: unet(noisy, torch.empty((), dtype=torch.long), tokens, camera, **told))
    beside = {part: skeleton(bundle, part) for part in _condition_parts(bundle)}
    looks = [_look(part, net, size) for part, net in beside.items()]
    calls = steps * (1 if at_once else branches)
    how = "" if branches == 1 else ", both branches at once" if at_once else ", one branch after the other"
    return Need(
        "generate",
        _bytes(unet) + sum(_bytes(net) for net in beside.values()),
        max(one.most + 3 * rows * LATENT_CHANNELS * cells**2 * 4, *(look.most for look in looks)),
        one.flops * calls + sum(look.flops for look in looks),
        f"{steps} steps{how}",
        one.fresh * calls + sum(look.fresh for look in looks),
    )


def depth_need(bundle: Bundle, size: int = 256) -> Need:
    """Plain decoding, one picture at a time."""
    decoder, cells = skeleton(bundle, "plain_decoder"), size // LATENT_FACTOR
    with torch.device("meta"):
        one = metered(lambda: decoder.decode(torch.empty(1, LATENT_CHANNELS, cells, cells)))
    n = 2 * len(SIX_VIEWS)
    return Need("depth", _bytes(decoder), one.most, one.flops * n, f"{n} pictures, one by one", one.fresh * n)


def decode_need(decoder: Decoder, size: int = 256) -> Need:
    """All views together, with everything that looks across them; the object covers COVERED of each."""
    from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder, make_guides

    views, cells = len(SIX_VIEWS), size // LATENT_FACTOR
    maps = torch.zeros(views, size, size)
    told = make_guides(maps, maps, torch.zeros(4, size, size), SIX_VIEWS)
    held = sum(t.nbytes for t in tree_leaves(told) if isinstance(t, torch.Tensor))
    with torch.device("meta"):
        net = CrossViewDecoder(CrossViewConfig.from_dict(decoder.config)).to("meta").eval()
        guides = tree_map_only(torch.Tensor, lambda t: t.to("meta"), told)
        one = metered(lambda: net(torch.empty(views, LATENT_CHANNELS, cells, cells), guides))
    parts = f"{views} views together, by {decoder.name}"
    return Need("decode", _bytes(net), one.most + held, one.flops, parts, one.fresh)


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
def metered(call: Callable[[], Any]) -> Cost:
    """What the call costs: of the tensors that lived at the worst moment its result included. The networks are on the
    meta device: no numbers are computed.
    """
    counter = FlopCounterMode(display=False)
    with _Living() as living, counter, _Unseen() as unseen:
        kept = call()
    del kept
    return Cost(living.most, float(counter.get_total_flops() + unseen.flops), living.fresh)


def resident() -> int:
    """Bytes of this process as it is, with the libraries of all networks loaded."""
    import img2mv3d.nets.crossview
    import img2mv3d.nets.generator  # noqa: F401

    return machine.resident_memory()


@torch.no_grad()
def pace(seconds: float = 0.3, clock: Callable[[], float] = time.perf_counter) -> Pace:
    """What this machine does as it is now: convolutions of a middle size, and new pages written for the first time."""
    x, w = torch.randn(2, 128, 48, 48), torch.randn(128, 128, 3, 3)
    F.conv2d(x, w, padding=1)
    times = _times(lambda: F.conv2d(x, w, padding=1), seconds, clock)
    pages = _times(lambda: torch.empty(LARGE).fill_(0), seconds / 2, clock)
    return Pace(times * 2.0 * math.prod(x.shape) * 128 * 9, pages * 4.0 * LARGE)


def _times(call: Callable[[], Any], seconds: float, clock: Callable[[], float]) -> float:
    """Calls in a second."""
    done, begin = 0, clock()
    while (spent := clock() - begin) < seconds or not done:
        call()
        done += 1
    return done / max(spent, 1e-6)


class _Living(TorchDispatchMode):
    """Counts the bytes of all storages that were made inside and are alive; parameters were there before."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.fresh = 0.0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, torch.Tensor):
                self._known.add(tensor.untyped_storage())
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        if func is torch.ops.aten.convolution.default:
            scratch = _scratch(args[0], args[1])
            self.most = max(self.most, self.now + scratch)
            self._meet(scratch)
        return out

    def _note(self, storage: Any) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        self._meet(size)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size

    def _meet(self, size: int) -> None:
        self.fresh += size if size >= LARGE or self.now > KEPT else 0


class _Unseen(TorchFunctionMode):
    """What cannot be seen without numbers. Attention, as it runs on processors and cards: never the whole table of
    scores. Which pixels are hit: a share of COVERED. Whether a layer is still zero: none is."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0.0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            q, k, v = args[:3] if len(args) >= 3 else (kwargs[n] for n in ("query", "key", "value"))
            self.flops += 2.0 * math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])
            return q.new_empty((*q.shape[:-1], v.shape[-1]))
        if func is torch.Tensor.nonzero and args[0].is_meta:
            return args[0].new_empty((int(args[0].numel() * COVERED), args[0].dim()), dtype=torch.long)
        if func is torch.Tensor.any and args[0].is_meta:
            return torch.ones((), dtype=torch.bool, device="cpu")
        return func(*args, **(kwargs or {}))


def _scratch(x: Any, weight: Any) -> int:
    """Bytes that a convolution takes beside its input and output, on a processor, measured: one in space copies its
    input into its own order, unless the weights are laid out channels last; one over views unfolds it tap by tap and
    copies it besides. 1 x 1 takes nothing."""
    taps = math.prod(weight.shape[2:])
    if taps == 1:
        return 0
    if weight.dim() == 5:
        return int(x.nbytes) * (taps + 1)
    return 0 if weight.is_contiguous(memory_format=torch.channels_last) else int(x.nbytes)


def _look(part: str, net: Any, size: int) -> Cost:
    """What a condition network costs, which sees the photo once."""
    shapes = {"image_encoder": (1, 3, 224, 224), "tokens": (1, 4, size, size)}
    with torch.device("meta"):
        photo = torch.empty(shapes.get(part, (1, 3, size, size)))
        return metered(lambda: net(photo))


def _window(bundle: Bundle, cells: int) -> Window | None:
    """The rows that a silhouette of the bundle's framing takes, at most; None where whole pictures are generated."""
    if not bundle.manifest.get("generate", {}).get("windows"):
        return None
    tall = -(-bundle.framing_px * cells // 256) + 1 + 2 * MARGIN
    height = min(-(-tall // STEP) * STEP, cells)
    return Window((cells - height) // 2, height, 0, cells, cells)


def _bytes(net: Any) -> int:
    return sum(p.numel() * 4 for p in net.parameters())


def _tokens(bundle: Bundle) -> int:
    return 1 if isinstance(bundle, Checkpoint) else 4


def _condition_parts(bundle: Bundle) -> tuple[str, ...]:
    return ("encoder", "image_encoder") if isinstance(bundle, Checkpoint) else ("encoder", "tokens")
