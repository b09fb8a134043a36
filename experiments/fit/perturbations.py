"""Exact views perturbed in known ways, one way at a time: what generators do all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import affine_transform, binary_erosion, gaussian_filter
from scipy.spatial.transform import Rotation

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.conventions import FRONT
from img2mv3d.files.contents import decode_normals, encode_normals, to_bytes
from img2mv3d.geometry.masks import view_masks
from img2mv3d.nets.vae import DecodesLatents
from img2mv3d.values import Views

SHIFT_PX = 3.0  # of 256
SCALE = 0.03
BLUR_PX = 3.0
ERODED_PX = 2
HOLES = 4  # a view
HOLE_PX = 10
TURN_DEG = (10.0, 20.0)  # of normals; smooth over a view
TURN_PX = 24.0  # how far such errors reach
SWAPPED = 2  # the right view


def shifted(views: Views, rng: np.random.Generator) -> Views:
    """Every view but the front moved by up to SHIFT_PX, sideways and up."""
    return _moved(views, rng.uniform(-SHIFT_PX, SHIFT_PX, (len(views.mask), 2)), np.ones(len(views.mask)))


def scaled(views: Views, rng: np.random.Generator) -> Views:
    """Every view but the front grown or shrunk by up to SCALE, round the picture's middle."""
    return _moved(views, np.zeros((len(views.mask), 2)), 1 + rng.uniform(-SCALE, SCALE, len(views.mask)))


def blurred(views: Views, rng: np.random.Generator) -> Views:
    """Colours, normals and masks out of focus, as a decoder makes them."""
    color, normal = (
        np.stack([gaussian_filter(p, (BLUR_PX, BLUR_PX, 0)) for p in maps]) for maps in (views.color, views.normal)
    )
    mask = np.stack([gaussian_filter(m, BLUR_PX / 2) for m in views.mask])
    return _with(replace(views, color=color), normal, mask)


def eroded(views: Views, rng: np.random.Generator) -> Views:
    """Masks too small by ERODED_PX in every second view."""
    mask = views.mask.copy()
    for i in range(0, len(mask), 2):
        mask[i] *= binary_erosion(mask[i] > 0.5, iterations=ERODED_PX)
    return _with(views, views.normal, mask)


def holed(views: Views, rng: np.random.Generator) -> Views:
    """HOLES holes of HOLE_PX in every mask but the front's."""
    mask = views.mask.copy()
    for view in mask[1:]:
        rows, columns = np.nonzero(view > 0.5)
        for k in rng.integers(len(rows), size=HOLES):
            view[rows[k] : rows[k] + HOLE_PX, columns[k] : columns[k] + HOLE_PX] = 0
    return _with(views, views.normal, mask)


def turned(views: Views, rng: np.random.Generator) -> Views:
    """Normals off by 10 to 20 degrees, smoothly over a view and differently in each."""
    shape = views.mask.shape[1:]
    normal = []
    for view in views.normal:
        axis = np.stack([gaussian_filter(rng.normal(size=shape), TURN_PX) for _ in range(3)], -1)
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
        angle = np.radians(rng.uniform(*TURN_DEG))
        turn = Rotation.from_rotvec((axis * angle).reshape(-1, 3))
        normal.append(turn.apply(view.reshape(-1, 3)).reshape(view.shape))
    return _with(views, np.stack(normal), views.mask)


def swapped(views: Views, other: Views) -> Views:
    """The right view is another object's."""
    parts = {name: getattr(views, name).copy() for name in ("color", "normal", "mask")}
    for name, part in parts.items():
        part[SWAPPED] = getattr(other, name)[SWAPPED]
    return replace(views, **parts)


def decoded(views: Views, rng: np.random.Generator) -> Views:
    """Encoded and decoded again by mini's networks, masks taken from what comes out; the front's is the photo's."""
    bundle = load_bundle("mini")
    encoder, decoder = bundle.encoder(), bundle.plain_decoder()
    coded = encode_normals(views.normal, views.mask).astype(np.float32) / 255
    with torch.no_grad():
        color, coded = (
            np.concatenate([encoder.encode(one[None]).numpy() for one in torch.from_numpy(maps).movedim(-1, 1)])
            for maps in (views.color.astype(np.float32), coded)
        )
    return replace(views, **decoded_plainly(color, coded, views.mask[FRONT], decoder))


def decoded_plainly(
    color: Float[np.ndarray, "V 4 h w"],
    normal: Float[np.ndarray, "V 4 h w"],
    front: Float[np.ndarray, "H W"],
    decoder: DecodesLatents,
) -> dict[str, np.ndarray]:
    """color, normal and mask of `Views`, each decoded on its own and by nothing mended;

    front: the photo's alpha.
    """
    with torch.no_grad():
        color, coded = (
            torch.cat([decoder.decode(one[None]) for one in torch.from_numpy(latents)])
            .clamp(0, 1)
            .movedim(1, -1)
            .numpy()
            for latents in (color, normal)
        )
    mask = view_masks(color, coded, None)
    shown = mask >= 0.5
    mask[FRONT] = front
    return {"color": color, "normal": decode_normals(to_bytes(coded), mask) * shown[..., None], "mask": mask}


def everything(views: Views, rng: np.random.Generator) -> Views:
    """Moved, scaled, turned and blurred: what a young generator does."""
    return blurred(turned(scaled(shifted(views, rng), rng), rng), rng)


PERTURBATIONS: dict[str, Callable[[Views, np.random.Generator], Views]] = {
    "none": lambda views, rng: views,
    "shifted": shifted,
    "scaled": scaled,
    "blurred": blurred,
    "eroded": eroded,
    "holed": holed,
    "turned": turned,
    "decoded": decoded,
    "everything": everything,
}


def _moved(views: Views, offset: Float[np.ndarray, "V 2"], scale: Float[np.ndarray, " V"]) -> Views:
    middle = (np.array(views.mask.shape[1:]) - 1) / 2
    normal, mask = views.normal.copy(), views.mask.copy()
    for i in range(1, len(mask)):
        matrix = np.eye(2) / scale[i]
        start = middle - matrix @ (middle + offset[i])
        mask[i] = affine_transform(views.mask[i], matrix, start, order=1)
        for c in range(3):
            normal[i, ..., c] = affine_transform(views.normal[i, ..., c], matrix, start, order=1)
    return _with(views, normal, mask)


def _with(views: Views, normal: np.ndarray, mask: np.ndarray) -> Views:
    """The views with other normals and masks: normals of unit length where the mask covers anything."""
    mask = mask.clip(0, 1).astype(np.float32)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    unit = np.where((length > 0.1) & (mask[..., None] > 0), normal / np.maximum(length, 1e-6), 0).astype(np.float32)
    return replace(views, normal=unit, mask=mask)
