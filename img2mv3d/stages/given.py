"""Depth and views that the user supplies: depth from a file, a mesh or not at all, views without normals.

In: plainly decoded views, "none" or a file; latents of colours alone. Out: `Depth`, `Views`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from img2mv3d.errors import DepthError
from img2mv3d.geometry.masks import view_masks
from img2mv3d.mesh.files import read_mesh
from img2mv3d.mesh.raster import rasterise
from img2mv3d.nets.vae import DecodesLatents
from img2mv3d.values import Depth, Latents, Views, load_depth


def given_depth(plain: Views, given: str | Path) -> Depth:
    """Depth of the views' rig, z and hit [V, H, W] in world units. given: "none", a depth.npz with z and hit of that
    shape, or a mesh file in world axes and units. Raises DepthError when the file cannot be used.
    """
    if given == "none":
        return Depth(np.zeros_like(plain.mask), np.zeros_like(plain.mask), plain, None, "none")
    path = Path(given)
    if path.suffix == ".npz":
        z, hit, _ = load_depth(path, plain.mask.shape)
        return Depth(z, hit, plain, None, "file")
    mesh = read_mesh(path, DepthError)
    z = np.zeros(plain.mask.shape, np.float32)
    hit = np.zeros(plain.mask.shape, np.float32)
    for view, camera in enumerate(plain.rig.cameras(plain.mask.shape[1])):
        seen = rasterise(mesh.vertices, mesh.faces, camera)
        there = seen.face >= 0
        z[view] = np.where(there, seen.z, 0)
        hit[view] = there
    if not hit.any():
        raise DepthError(f"{path}: no view sees this mesh; its unit is half the image's width, +Y up, its front to +Z")
    return Depth(z, hit, plain, None, "mesh")


@torch.no_grad()
def plain_colors(latents: Latents, *, decoder: DecodesLatents) -> Views:
    """Plain views, float32 [V, H, W, 3] in [0, 1], of latents that hold no normals; masks from the colours alone, which
    lose what is as white as the background.
    """
    like = next(decoder.parameters())
    pictures = [decoder.decode(torch.from_numpy(one[None]).to(like)).float().cpu() for one in latents.color]
    color = torch.cat(pictures).clamp(0, 1).movedim(1, -1).contiguous().numpy()
    mask = view_masks(color, color, latents.front[..., 3].astype(np.float32) / 255)
    color = np.where(mask[..., None] > 0, color, np.float32(1))
    warning = "these latents hold no normals: masks are guessed from the colours, depth is that of the silhouettes"
    return Views(color, None, mask, latents.rig, "plain", (warning,))
