"""Training of the cross-view decoder: bands of rows of all views, depth disturbed, latents that disagree -> the true
views.

In: rendered sets with their latents, a trained plain decoder. Out: decoder weights and figures.
Why here: order matters (photo first, attention on top of it), and what it is judged on is not what a plain decoder is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16, UInt8
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from img2mv3d.conventions import FRONT, LATENT_FACTOR
from img2mv3d.data.renders import RenderSet
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.epipolar import structured_noise
from img2mv3d.geometry.warp import warp_error
from img2mv3d.nets.crossview import FACTORS, CrossViewDecoder, Guides, crop, make_guides
from img2mv3d.train.decoder import picture_loss, psnr
from img2mv3d.train.loop import LoopOptions, run_loop, save_weights
from img2mv3d.train.pictures import tile
from img2mv3d.train.pool import as_float, draw_float, draw_int

BAND = 64  # rows of px in a step: closed under the attention of this rig, a fifth of a whole step's cost
RIM = 8  # px without loss at a band's edges, whose neighbours the decoder cannot know
CORRUPT_SHARE = 0.5  # of the steps, on latents that disagree from view to view
PHOTO_SHARE = 0.25  # of the steps, with an imperfect photo instead of the rendered front view
DROP_SHARE = 0.2  # of the steps, with one view that no other view may look into
DEPTH_NOISE = 0.1  # world units, largest amplitude of eq. 3's coarsest grid; reached at the end
FULL_SHARE = 0.2  # of the attention's budget, at its end, on whole pictures: group norms see other statistics there
REFRESH_STEPS = 60
HELD_NOISE = 0.02  # depth noise of the held-out figures: like a quick fit's error


@dataclass(frozen=True)
class Stage:
    """One part of the training. share: of the minutes. parts: prefixes of the weights that learn besides the base;
    base: whether that does.

    lr: of the base; new_lr_factor: of the parts relative to it. attention: on or off. full_share: of its budget on
    whole pictures.
    """

    name: str
    share: float
    parts: tuple[str, ...]
    base: bool
    attention: bool
    lr: float
    lr_end: float
    new_lr_factor: float = 1.0
    full_share: float = 0.0


STAGES = (
    Stage("carry", 0.45, ("front.", "carry."), base=False, attention=False, lr=2e-3, lr_end=1e-3),
    Stage("attention", 0.55, ("front.", "carry.", "attention."), True, True, 1e-4, 1e-5, 5.0, FULL_SHARE),
)


@dataclass(frozen=True, eq=False)
class Scene:
    """One set in memory. color: [6, H, W, 3]. z: world units, 0 outside of the mask. photo: straight alpha. latents:
    scaled.
    """

    name: str
    color: UInt8[Tensor, "V H W 3"]
    mask: UInt8[Tensor, "V H W"]
    z: Float16[Tensor, "V H W"]
    photo: UInt8[Tensor, "H W 4"]
    latents: Float[Tensor, "V 4 h w"]

    def depth(self) -> tuple[Float[Tensor, "V H W"], Float[Tensor, "V H W"]]:
        """z and hit as the decoder takes them."""
        hit = (self.mask >= 128).float()
        return self.z.float() * hit, hit

    def front(self, imperfect: bool) -> Float[Tensor, "4 H W"]:
        """The photo, or the rendered front view with its mask, RGBA in [0, 1], straight alpha."""
        if imperfect:
            return self.photo.movedim(-1, 0).float() / 255
        alpha = self.mask[FRONT].float() / 255
        color = as_float(self.color[FRONT])
        bare = ((color - (1 - alpha)) / alpha.clamp(min=1 / 8)).clamp(0, 1)
        return torch.cat([bare, alpha[None]])


class Scenes:
    """The sets of one split that have latents of the wanted source, as they appear; at most `limit`."""

    def __init__(self, data: Path, split: str, limit: int, sources: tuple[str, ...] = ("teacher", "mini")) -> None:
        self.sets, self.split, self.limit, self.sources = RenderSet(data), split, limit, sources
        self.items: list[Scene] = []
        self._known: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Take in what appeared since the last time."""
        for name in self.sets.names(self.split):
            if len(self.items) >= self.limit:
                return
            path = self.sets.latents_path(name)
            if name in self._known or not path.exists():
                continue
            self._known.add(name)
            with np.load(path) as file:
                if file["source"].item() not in self.sources:
                    continue
                latents = torch.from_numpy(file["color"].astype(np.float32))
            sample = self.sets.load(name)
            arrays = (torch.from_numpy(a) for a in (sample.color, sample.mask, sample.z, sample.photo))
            self.items.append(Scene(name, *arrays, latents))


class CrossViewTask:
    """Loss L1 + 0.5 L1 of the gradients on a band of rows of all views of one object."""

    def __init__(
        self, train: Scenes, held: Scenes, net: CrossViewDecoder, stage: Stage, noise: tuple[float, float]
    ) -> None:
        self.net, self.stage, self.noise = net, stage, noise
        self.train, self.held = train, held
        self._calls = 0
        net.attention_on = stage.attention
        for name, weight in net.named_parameters():
            weight.requires_grad_(name.startswith(stage.parts) or (stage.base and name.startswith("base.")))

    def new_parameters(self) -> list[nn.Parameter]:
        """What learns at the higher rate."""
        return [p for k, p in self.net.named_parameters() if k.startswith(self.stage.parts)]

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        """One band, or whole pictures at the end; depth noise grows with `progress`."""
        self._calls += 1
        if self._calls % REFRESH_STEPS == 0:
            self.train.refresh()
        if not self.train.items:
            raise ValueError("no training sets with latents yet; run `img2mv3d data render` and encode them first")
        scene = self.train.items[draw_int(rng, len(self.train.items))]
        z, hit = scene.depth()
        amplitude = (self.noise[0] + (self.noise[1] - self.noise[0]) * progress) * draw_float(rng) ** 2
        z = (z + structured_noise(rng, len(z), z.shape[-1], amplitude)) * hit
        latents = corrupted(scene.latents, rng) if draw_float(rng) < CORRUPT_SHARE else scene.latents
        dropped = (1 + draw_int(rng, len(z) - 1),) if draw_float(rng) < DROP_SHARE else ()
        guides = make_guides(z, hit, scene.front(draw_float(rng) < PHOTO_SHARE), SIX_VIEWS, dropped)
        target = as_float(scene.color)
        size = z.shape[-1]
        rows, columns = (0, size), (0, size)
        if progress < 1 - self.stage.full_share and size > BAND:
            start = _band(scene.mask, rng)
            rows = (start, start + BAND)
            if not self.stage.attention:  # only the attention needs whole rows
                columns = (size // 16 * 3, size // 16 * 13)
        guides = crop(guides, rows, columns)
        part = (..., *(slice(a // LATENT_FACTOR, b // LATENT_FACTOR) for a, b in (rows, columns)))
        found = self.net(latents[part], guides, draw_jitter(self.net, guides, rng))
        target = target[..., slice(*rows), slice(*columns)]
        known = (..., *(slice(RIM * (a > 0), b - a - RIM * (b < size)) for a, b in (rows, columns)))
        return picture_loss(found[known], target[known])

    def held_out(self, net: nn.Module) -> dict[str, float]:
        """PSNR in the mask of the front view and of the others, colour disagreement by warping; exact latents, depth
        a little off.
        """
        self.held.refresh()
        rows = [_held_figures(net, scene, i) for i, scene in enumerate(self.held.items)]
        return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} if rows else {}

    def sheet(self, net: nn.Module) -> np.ndarray:
        """Rows: four true views, the same decoded."""
        rows = []
        for i, scene in enumerate(self.held.items[:4]):
            found = _decode_held(net, scene, i)
            rows.append([p for v in range(4) for p in (scene.color[v].numpy(), found[v].movedim(0, -1).numpy())])
        return tile(rows) if rows else np.full((8, 8, 3), 255, np.uint8)


def train(
    data: Path,
    plain: Mapping[str, Tensor],
    out: Path,
    minutes: float,
    *,
    steps: int | None = None,
    seed: int = 0,
    net: CrossViewDecoder | None = None,
    sets: int = 400,
    held_out: int = 4,
    report: Callable[[str], None] = print,
) -> CrossViewDecoder:
    """Train a cross-view decoder on a plain decoder's weights, stage by stage; each stage resumes from its folder
    under `out`.

    minutes: wall clock in all, divided among STAGES; steps, instead, likewise. net: another size than the shipped
    one. sets: kept in memory at most (2.5 MB each). A file named `stop` in a stage's folder ends that stage.
    Returns the averaged network, which also lies in out/ema.safetensors.
    """
    torch.manual_seed(seed)
    net = net or CrossViewDecoder()
    net.load_plain(plain)
    net.to(memory_format=torch.contiguous_format)  # a quarter faster to train; `decode` of a fresh network uses its own
    train_sets, held = Scenes(Path(data), "train", sets), Scenes(Path(data), "val", held_out, ("teacher",))
    reached = 0.0
    for stage in STAGES:
        average = copy.deepcopy(net)
        noise = (DEPTH_NOISE * reached, DEPTH_NOISE * (reached + stage.share))
        reached += stage.share
        task = CrossViewTask(train_sets, held, net, stage, noise)
        average.attention_on = stage.attention
        options = LoopOptions(
            minutes=minutes * stage.share,
            steps=None if steps is None else max(1, round(steps * stage.share)),
            warmup=30 if steps is None else min(30, steps // 10),
            lr=stage.lr,
            lr_end=stage.lr_end,
            new_lr_factor=stage.new_lr_factor,
            ema=0.99,
            checkpoint_minutes=5.0,
            seed=seed,
        )
        run_loop(task, average, Path(out) / stage.name, options, report)
        net.load_state_dict(average.state_dict())
        net.requires_grad_(True)
    save_weights(net, Path(out) / "ema.safetensors")
    return net.eval()


def corrupted(latents: Float[Tensor, "V 4 h w"], rng: torch.Generator) -> Float[Tensor, "V 4 h w"]:
    """Latents that disagree from view to view, as a generator's do: each view shifted by up to a third of a cell,
    scaled by some percent about its middle, and noised at two frequencies.
    """
    views, channels, height, width = latents.shape
    uniform = torch.rand(views, 4, generator=rng) * 2 - 1
    matrix = torch.zeros(views, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1 + 0.03 * uniform[:, 2]
    matrix[:, 0, 2], matrix[:, 1, 2] = uniform[:, 0] * (2 / 3) / width, uniform[:, 1] * (2 / 3) / height
    grid = nn.functional.affine_grid(matrix, list(latents.shape), align_corners=False)
    moved = grid_sample(latents, grid, mode="bilinear", padding_mode="border", align_corners=False)
    level = 0.25 * uniform[:, 3].abs()[:, None, None, None]
    fine = torch.randn(latents.shape, generator=rng)
    coarse = torch.randn((views, channels, 4, 4), generator=rng)
    coarse = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return moved + level * (fine + coarse)


def draw_jitter(net: CrossViewDecoder, guides: Guides, rng: torch.Generator) -> tuple[Float[Tensor, "V _ _ _"], ...]:
    """Places of the points in their bins for every up-block; drawn even while the attention is off, so that runs stay
    comparable.
    """
    return tuple(
        torch.rand((len(level.z), a.points, *level.z.shape[1:]), generator=rng)
        for a, level in zip(net.attention, guides.levels, strict=True)
    )


def _band(mask: UInt8[Tensor, "V H W"], rng: torch.Generator) -> int:
    """First row, in multiples of 8 px, of a band that meets the object."""
    covered = (mask >= 128).any(dim=-1).any(dim=0).nonzero()
    height = mask.shape[1]
    low, high = (int(covered[0]), int(covered[-1]) + 1) if len(covered) else (0, height)
    first, last = sorted((low - RIM, high - BAND + RIM))
    start = first + draw_int(rng, last - first + 1)
    return min(max(start, 0), height - BAND) // FACTORS[0] * FACTORS[0]


def _decode_held(net: nn.Module, scene: Scene, seed: int) -> Float[Tensor, "V 3 H W"]:
    z, hit = scene.depth()
    rng = torch.Generator().manual_seed(seed)
    noisy = (z + structured_noise(rng, len(z), z.shape[-1], HELD_NOISE)) * hit
    return net.decode(scene.latents, noisy, hit, scene.front(False), SIX_VIEWS).clamp(0, 1)


def _held_figures(net: nn.Module, scene: Scene, seed: int) -> dict[str, float]:
    found, (z, hit) = _decode_held(net, scene, seed), scene.depth()
    inside: Bool[Tensor, "V H W"] = hit > 0
    error = (found - as_float(scene.color)).square().mean(dim=1)
    by_view = [psnr(float(e[m].mean())) for e, m in zip(error, inside, strict=True) if m.any()]
    return {
        "psnr_mask_front": by_view[0],
        "psnr_mask_others": float(np.mean(by_view[1:])),
        "warp_error": warp_error(found.movedim(1, -1), z, hit, SIX_VIEWS),
        "warp_error_truth": warp_error(as_float(scene.color).movedim(1, -1), z, hit, SIX_VIEWS),
    }
