"""A ball whose colours nowhere repeat, as a case with clean latents and exact depth."""

from dataclasses import replace

import numpy as np
import torch

from img2mv3d.eval.comparison import Case, Result
from img2mv3d.files.contents import encode_normals, to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.values import Depth, Latents, Views


def ball_points(size: int = 128, radius: float = 0.5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """z, hit [6, H, W] and the surface points [6, 3, H, W] in the front camera's frame."""
    line = (torch.arange(size) + 0.5) * 2 / size - 1
    square = radius**2 - line[None] ** 2 - line[:, None] ** 2
    hit = (square > 0).float().expand(6, -1, -1).contiguous()
    z = square.clamp(min=0).sqrt().expand(6, -1, -1).contiguous()
    turn = torch.deg2rad(torch.tensor(SIX_VIEWS.azimuth_deg))[:, None, None]
    x = turn.cos() * line - turn.sin() * z
    y = -line[:, None].expand(6, -1, size)
    return z, hit, torch.stack([x, y, turn.sin() * line + turn.cos() * z], dim=1)


def patterned_ball() -> Case:
    """Radius 0.5, 128 px."""
    z, hit, point = ball_points()
    size = z.shape[-1]
    rng = torch.Generator().manual_seed(0)
    waves = torch.randn(24, 3, generator=rng) * 35
    phases = torch.rand(24, 3, generator=rng) * 6
    along = torch.einsum("kc,vchw->kvhw", waves, point)[:, :, None]
    color = (along + phases[:, None, :, None, None]).sin().sum(0)
    color = (0.5 + 0.1 * color).clamp(0, 1) * hit[:, None] + 1 - hit[:, None]
    shown, mask = color.movedim(1, -1).contiguous().numpy(), hit.numpy()
    photo = to_bytes(np.concatenate([shown[0], mask[0][..., None]], axis=-1))
    normal = np.where(mask[..., None] > 0, np.float32([0, 0, 1]), np.float32(0))
    truth = Views(shown, normal, mask, SIX_VIEWS)
    cells = np.zeros((6, 4, size // 8, size // 8), np.float32)
    latents = Latents(cells, cells, photo, SIX_VIEWS, 128, {}, "", 0)
    coded = encode_normals(normal, mask).astype(np.float32) / 255
    depth = Depth(z.numpy(), mask, truth)
    return Case("ball", "clean", photo, truth, z.numpy() * mask, None, latents, depth, coded)


def noisy(case: Case) -> Result:
    """The true views with noise that differs from view to view."""
    rng = np.random.default_rng(0)
    shown = case.truth.color + 0.2 * rng.standard_normal(case.truth.color.shape, np.float32)
    return Result(replace(case.truth, color=shown.clip(0, 1)))
