"""Views at a multiple of their size: interpolated, and the finest band of a finer picture put on, which they cannot
hold.

In: views, the body that they show, the photo at its own resolution. Out: outlines and colours at the wanted size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32

from img2mv3d.conventions import WORLD_WIDTH
from img2mv3d.geometry.antipodal import inpaint_nearest
from img2mv3d.geometry.cameras import Rig
from img2mv3d.mesh.draft import FACES, far_source, means_of
from img2mv3d.mesh.extract import extract
from img2mv3d.mesh.raster import rasterise
from img2mv3d.mesh.sources import Source
from img2mv3d.mesh.texture import palette_of


class Fine(NamedTuple):
    """mask: covered share. color: in [0, 1], over white. observed: the photo's share in each pixel's colour."""

    mask: Float32[np.ndarray, "V H W"]
    color: Float32[np.ndarray, "V H W 3"]
    observed: Float32[np.ndarray, "V H W"]


def fine_draft(
    field: Float32[np.ndarray, "N N N"],
    far: Float32[np.ndarray, "T T 3"],
    photo: Source,
    alpha: Float32[np.ndarray, "H W"],
    rig: Rig,
    others: Sequence[Source],
    size: int,
) -> Fine:
    """The views of a body as `draft.draft` makes them, at `size` px a side, coloured pixel by pixel: vertices, which
    that colours, are no finer than 256 px. Arguments as there. Raises NothingFoundError when the body is empty.
    """
    surface = extract(field, faces=FACES)
    sources = [photo, far_source(far, alpha, rig), *others]
    palette = palette_of(surface.vertices, surface.faces, sources, size / WORLD_WIDTH)
    shares = palette.by_photo[:, None]
    seen = [means_of(surface.vertices, surface.faces, shares, camera) for camera in rig.cameras(size)]
    mask, observed = np.stack([cover for cover, _, _ in seen]), np.stack([mean[..., 0] for _, _, mean in seen])
    color, hit = np.zeros((*mask.shape, 3), np.float32), np.zeros(mask.shape, bool)
    for view, camera in enumerate(rig.cameras(size)):
        centre = rasterise(surface.vertices, surface.faces, camera)
        hit[view] = centre.face >= 0
        corner = surface.faces[centre.face[hit[view]]]
        color[view][hit[view]] = palette.at(surface.vertices, corner, centre.bary[hit[view]]).clip(0, 1)
    color = inpaint_nearest(color, hit, mask > 0)  # pixels that the body covers beside their centre
    cover = mask[..., None]
    return Fine(mask, color * cover + (1 - cover), observed)


def with_finest(
    color: Float[np.ndarray, "V h w 3"], fine: Float[np.ndarray, "V H W 3"], observed: Float[np.ndarray, "V H W"]
) -> Float32[np.ndarray, "V H W 3"]:
    """The views (over white) at the size of `fine`: what is observed is that, the rest is enlarged, with what `fine`
    has beyond its own shrunk and enlarged self; shrunk again it is about what it was."""
    size, share = fine.shape[1], observed[..., None]
    shrunk = _scaled(fine, color.shape[1], cv2.INTER_AREA)
    guessed = enlarged(color, size) + fine - enlarged(shrunk, size)
    return (share * fine + (1 - share) * guessed).astype(np.float32)


def enlarged(pictures: Float[np.ndarray, "V h w *C"], size: int) -> Float32[np.ndarray, "V S S *C"]:
    """Square pictures at `size` px a side, by Lanczos' kernel: values may lie a little beyond those that were there."""
    return _scaled(pictures, size, cv2.INTER_LANCZOS4)


def _scaled(pictures: Float[np.ndarray, "V h w *C"], size: int, way: int) -> Float32[np.ndarray, "V S S *C"]:
    parts = [np.ascontiguousarray(picture, np.float32) for picture in pictures]
    return np.stack([cv2.resize(picture, (size, size), interpolation=way) for picture in parts])
