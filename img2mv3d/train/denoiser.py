"""Training of the denoiser of `mini` and of its image tokens, on latents."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from img2mv3d.diffusion.contract import Condition, conditioned
from img2mv3d.diffusion.sampler import sample
from img2mv3d.diffusion.schedule import SCHEDULES, STEPS, Schedule, add_noise, target
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.drafted import CHANNELS, draft_input
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig, camera_vector, pack, precondition, unpack
from img2mv3d.nets.tokens import TokenEncoder
from img2mv3d.nets.vae import Encoder, PlainDecoder
from img2mv3d.nets.window import Window, around
from img2mv3d.train.loop import LoopOptions, run_loop
from img2mv3d.train.pictures import tile
from img2mv3d.train.pool import Item, Pool, as_float, draw_float, draw_int, over_white

SNR_LIMIT = 5.0  # Hang et al. 2023, min-SNR with gamma 5: easy, almost clean steps count less
HELD_STEPS = (300, 499, 900, 999)  # noise steps of the held-out loss
DRAFT_STEPS = (100, 200, 400, 600)  # the same, with a draft
REFRESH_STEPS = 50

# 32 px without attention and few channels: on a CPU, twice the steps are worth more than twice the width
UNET = UNetConfig(
    channels=(32, 64, 160),
    reach=("off", "rows", "views", "views"),
    heads=(1, 2, 4),
    token_width=128,
    groups=8,
    coordinates=True,
    mirror=True,
    direct=True,
    draft=CHANNELS,
    shift=0.5,  # of the schedule `mini`
    mean=(1.82, 1.18, 0.06, -0.92),  # of 56 rendered sets; white is 2.0, 1.3, 0.1, -1.1
    deviation=(0.59, 0.67, 0.45, 0.52),
)


class MultiViewNets(nn.Module):
    """Denoiser and image tokens, trained together: one photo's condition to the network's rows and back."""

    def __init__(self, unet: MultiViewUNet, tokens: TokenEncoder) -> None:
        super().__init__()
        self.unet, self.tokens = unet, tokens
        angles = (torch.deg2rad(torch.tensor(a)) for a in (SIX_VIEWS.elevation_deg, SIX_VIEWS.azimuth_deg))
        self.register_buffer("camera", camera_vector(*angles), persistent=False)

    def condition(
        self, photo: Float[Tensor, "B 4 H W"], latent: Float[Tensor, "B 4 h w"], keep: Float[Tensor, " B"]
    ) -> Condition:
        """Rows of the condition of B photos (RGB over white, alpha); where keep is 0, latent and tokens are zero, as
        in the unconditional branch of guidance."""
        views = self.unet.config.views
        tokens = self.tokens(photo).tokens * keep[:, None, None]
        latent = latent * keep[:, None, None, None]
        rows = [x.repeat_interleave(views, dim=0).repeat(2, *[1] * (x.ndim - 1)) for x in (latent, tokens)]
        normal, color = self.camera.chunk(2)
        batch = len(photo)
        return Condition(rows[0], rows[1], torch.cat([normal.repeat(batch, 1), color.repeat(batch, 1)]))


@dataclass(frozen=True)
class MultiViewBatch:
    """objects: in a step.
    drop: chance of an object without condition.
    noisier: exponent of the drawn noise steps, 1 is even, above 1 more of the noisy ones, in which shapes are decided.
    called: noise steps of their own and the share of each; those at which a generation in two steps calls the network.
    drafted: share of the objects that are shown with their draft, where they have one; at noise steps up to `highest`,
        evenly, since a draft is refined from there.
    """

    objects: int = 1
    drop: float = 0.1
    noisier: float = 1.5
    called: tuple[tuple[int, float], ...] = ((999, 0.4), (499, 0.25))
    drafted: float = 0.9
    highest: int = 700


class MultiViewTask:
    """Weighted squared error of the prediction (velocity or noise, as the schedule says)."""

    def __init__(
        self,
        data: Path,
        net: MultiViewNets,
        batch: MultiViewBatch | None = None,
        schedule: Schedule = SCHEDULES["mini"],
        decoder: PlainDecoder | None = None,
        encoder: Encoder | None = None,
        held_out: int = 6,
    ) -> None:
        self.net, self.schedule, self.decoder = net, schedule, decoder
        self.batch = batch or MultiViewBatch()
        self.pool = Pool(data, "train", pictures=False, encoder=encoder)
        self.held = Pool(data, "val", pictures=False, encoder=encoder, limit=held_out)
        self.white = None if encoder is None else encoder.white()
        self._calls = 0

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        """Mean over a batch of objects, each at its own noise step."""
        self._calls += 1
        if self._calls % REFRESH_STEPS == 0:
            self.pool.refresh()
        items = [self.pool.draw(rng) for _ in range(self.batch.objects)]
        with_draft = [self._has_draft(item) and draw_float(rng) < self.batch.drafted for item in items]
        t = torch.tensor([self._noise_step(rng, drafted) for drafted in with_draft])
        keep = (torch.rand(len(items), generator=rng) >= self.batch.drop).float()
        window = self._window(items, rng)
        return denoiser_loss(self.net, items, t, keep, self.schedule, rng, window, with_draft)

    @torch.no_grad()
    def held_out(self, net: nn.Module) -> dict[str, float]:
        """The loss on held-out objects at fixed noise steps, with fixed noise; drafted_: with their drafts."""
        self.held.refresh()
        figures: dict[str, float] = {}
        for name, steps, with_draft in (("loss", HELD_STEPS, False), ("drafted", DRAFT_STEPS, True)):
            for step in steps:
                rng = torch.Generator().manual_seed(step)
                losses = [
                    self._held_loss(net, item, step, rng, with_draft)
                    for item in self.held.items
                    if not with_draft or self._has_draft(item)
                ]
                if losses:
                    figures[f"{name}_{step}"] = sum(losses) / len(losses)
        return figures

    def _held_loss(self, net: nn.Module, item: Item, step: int, rng: torch.Generator, with_draft: bool) -> float:
        t, window = torch.tensor([step]), item.window.wide()
        return float(denoiser_loss(net, [item], t, torch.ones(1), self.schedule, rng, window, [with_draft]))

    def sheet(self, net: nn.Module) -> np.ndarray:
        """Two held-out objects: photo and six generated colours; below, six generated normals. Latents stand for
        themselves when there is no decoder."""
        rows: list[list[np.ndarray]] = []
        for item in (self.held.items or self.pool.items)[:2]:
            normal, color = generate_latents(net, item, self.schedule, steps=2, seed=0, white=self.white)
            shown = [self._pictures(x) for x in (color, normal)]
            side = shown[0].shape[1]
            photo = over_white(item.photo).numpy()[:: len(item.photo) // side, :: len(item.photo) // side]
            rows += [[photo.astype(np.float32) / 255, *shown[0]], [np.ones_like(shown[1][0]), *shown[1]]]
        return tile(rows) if rows else np.full((8, 8, 3), 255, np.uint8)

    def _has_draft(self, item: Item) -> bool:
        return item.draft is not None and self.net.unet.config.draft > 0

    def _noise_step(self, rng: torch.Generator, drafted: bool = False) -> int:
        if drafted:
            return draw_int(rng, self.batch.highest)
        share = draw_float(rng)
        for step, own in self.batch.called:
            if share < own:
                return step
            share -= own
        return min(int((1 - draw_float(rng) ** self.batch.noisier) * STEPS), STEPS - 1)

    def _window(self, items: list[Item], rng: torch.Generator) -> Window:
        """Round one object, since white teaches nothing and costs half of the time; now and then all columns, as in
        use, where only the rows are known. Round several objects: everything."""
        window = items[0].window
        return window.all() if len(items) > 1 else window.at_least(draw_int(rng, 2 * window.whole))

    def _pictures(self, latents: Tensor) -> np.ndarray:
        if self.decoder is None:
            return (latents[:, :3] / 6 + 0.4).movedim(1, -1).numpy()
        return self.decoder.decode(latents).movedim(1, -1).numpy()[:, ::2, ::2]


def train(
    data: Path,
    out: Path,
    minutes: float,
    *,
    steps: int | None = None,
    seed: int = 0,
    net: MultiViewNets | None = None,
    decoder: PlainDecoder | None = None,
    encoder: Encoder | None = None,
    batch: MultiViewBatch | None = None,
    report: Callable[[str], None] = print,
) -> MultiViewNets:
    """Train denoiser and tokens on all latents under `data`; checkpoints, log and pictures under `out`.

    Returns the averaged networks.

    minutes: wall clock; steps instead, when given.
    net: another size than the shipped one.
    decoder: for the sheets.
    encoder: makes the photos' latents, as it will in use; without it those on disk are taken.
    """
    torch.manual_seed(seed)
    net = net or MultiViewNets(MultiViewUNet(UNET), TokenEncoder())
    average = copy.deepcopy(net)
    task = MultiViewTask(Path(data), net, batch, SCHEDULES["mini"], decoder, encoder)
    options = LoopOptions(
        minutes=minutes, steps=steps, lr=5e-4, lr_end=3e-5, warmup=50, ema=0.998, checkpoint_minutes=6.0, seed=seed
    )
    run_loop(task, average, Path(out), options, report)
    return average.eval()


def take_over(net: MultiViewNets, unet: MultiViewUNet, tokens: TokenEncoder) -> None:
    """Start `net` from trained networks of the same widths. Inputs that they did not have start with weights of zero,
    so that the first prediction is theirs. Raises RuntimeError when anything else differs.
    """
    tensors = unet.state_dict()
    old, wanted = tensors["conv_in.weight"], net.unet.conv_in.weight
    if old.shape[1] < wanted.shape[1]:
        tensors["conv_in.weight"] = torch.cat([old, old.new_zeros(*wanted[:, old.shape[1] :].shape)], dim=1)
    for name, weight in net.unet.state_dict().items():  # the straight way starts at zero
        if name.startswith("direct."):
            tensors.setdefault(name, weight)
    net.unet.load_state_dict(tensors)
    net.tokens.load_state_dict(tokens.state_dict())


def denoiser_loss(
    net: MultiViewNets,
    items: list[Item],
    t: Int[Tensor, " B"],
    keep: Float[Tensor, " B"],
    schedule: Schedule,
    rng: torch.Generator,
    window: Window,
    with_draft: Sequence[bool] = (),
) -> Float[Tensor, ""]:
    """Squared error of the prediction in the window at noise steps t, one per object, weighted by
    min(1, SNR_LIMIT / (1 + SNR)): even in the predicted clean latents where there is much noise, even in the noise
    where there is little."""
    latents = window.cut(torch.stack([item.latents for item in items])).float()  # [B, 2 (colour, normal), V, 4, h, w]
    clean = pack(latents[:, 1], latents[:, 0])
    views = latents.shape[2]
    steps = t.repeat_interleave(views).repeat(2)
    noise = torch.randn(clean.shape, generator=rng)
    noisy = add_noise(schedule, clean, noise, steps)
    condition = condition_of(net, items, keep)
    seen = torch.cat([noisy, window.cut(condition.latent)], dim=1)
    draft = _drafts(items, with_draft, window) if any(with_draft) else None
    prediction = net.unet(seen, steps, condition.tokens, condition.camera, window, draft)
    signal = schedule.table(clean)[steps]
    weight = (SNR_LIMIT * (1 - signal)).clamp(max=1)  # 1 + SNR = 1 / (1 - alpha_bar)
    error = prediction - target(schedule, clean, noise, steps)
    if net.unet.config.mean:  # in the network's own units, in which all noise steps are equally hard to begin with
        error = error / precondition(noisy, steps, net.unet.config)[2]
    return (weight * error.square().mean(dim=(1, 2, 3))).mean()


def _drafts(items: list[Item], with_draft: Sequence[bool], window: Window) -> Float[Tensor, "N d h w"]:
    """Rows of the items' drafts, zero where an item is shown without."""
    shown = [(d, i.draft) for d, i in zip(with_draft, items, strict=True)]
    like = next(draft for drafted, draft in shown if drafted)
    pairs = [draft if drafted else tuple(torch.zeros_like(part) for part in like) for drafted, draft in shown]
    latents, maps = (torch.stack(parts).float() for parts in zip(*pairs, strict=True))
    return window.cut(draft_input(pack(latents[:, 1], latents[:, 0]), maps.flatten(0, 1)))


@torch.no_grad()
def generate_latents(
    net: MultiViewNets,
    item: Item,
    schedule: Schedule,
    *,
    steps: int,
    seed: int,
    guidance: float = 1.0,
    solver: str = "dpmpp",
    white: Float[Tensor, "4"] | None = None,
) -> tuple[Float[Tensor, "V 4 h w"], Float[Tensor, "V 4 h w"]]:
    """(normal, color): scaled latents generated from the item's photo.

    white: its latent, for networks that see the photo's rows only, as `GeneratorNets.white`.
    """
    condition = condition_of(net, [item], torch.ones(1))
    noise = torch.randn(condition.latent.shape, generator=torch.Generator().manual_seed(seed))
    if white is None:
        rows = sample(conditioned(net.unet, condition, guidance), noise, schedule, steps=steps, solver=solver)
    else:
        window = around(item.photo[None, ..., 3] > 0).wide()
        network = conditioned(
            partial(net.unet, window=window), replace(condition, latent=window.cut(condition.latent)), guidance
        )
        rows = window.paste(sample(network, window.cut(noise), schedule, steps=steps, solver=solver), white)
    normal, color = unpack(rows, net.unet.config.views)
    return normal[0], color[0]


def condition_of(net: MultiViewNets, items: list[Item], keep: Float[Tensor, " B"]) -> Condition:
    """What the denoiser is told of the items' photos; nothing where keep is 0."""
    photos = torch.stack([as_float(item.photo) for item in items])
    alpha = photos[:, 3:]
    photos = torch.cat([photos[:, :3] * alpha + (1 - alpha), alpha], dim=1)
    return net.condition(photos, torch.stack([item.photo_latent for item in items]).float(), keep)
