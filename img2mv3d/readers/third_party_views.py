"""Views of other programs as ours: Wonder3D, Era3D, SyncDreamer, Zero123++.

What the layouts rest on: wonder3d on its code as it ran. The others on their public source, read and not run: era3d on
its test script and its loader for orthographic views, syncdreamer on its generate.py and the Blender script of its
training (elevation 30 degrees, distance 1.5, lens 35 on a sensor of 32), zero123plus on its README (angles of v1.1).
General knowledge and no more: angles of zero123plus-1.2, and the field of view of 30 degrees of both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, UInt8

from img2mv3d.conventions import IMAGE_SIZE, VIEW_NAMES
from img2mv3d.errors import ViewsError
from img2mv3d.files.contents import decode_normals, read_png
from img2mv3d.geometry.cameras import PERSPECTIVE, SIX_VIEWS, Rig
from img2mv3d.geometry.masks import cover_on_even
from img2mv3d.values import Views

SYNC_VIEWS = 16
SYNC_DISTANCE = 1.5 / (1.5 * 16 / 35)  # half the image's width at the origin is 1: distance over tan of half the field
ZERO_DISTANCE = 1 / math.tan(math.radians(15))


@dataclass(frozen=True)
class Layout:
    """How somebody writes views.

    rig: the cameras.
    tiles: (rows, columns) of one picture, None for a file a view;
    side: of a tile, px.
    colors, normals: file names to try for a view, in that order; normals are in the front camera's frame.
    """

    rig: Rig
    tiles: tuple[int, int] | None = None
    side: int = 256
    colors: tuple[str, ...] = ()
    normals: tuple[str, ...] = ()


def _around(prefix: str, azimuth: list[float], elevation: list[float], distance: float) -> Rig:
    names = tuple(f"{prefix}_{i:02d}" for i in range(len(azimuth)))
    return Rig(names, tuple(azimuth), tuple(elevation), PERSPECTIVE, 2.0, distance)


_SIX_AROUND = [30.0 + 60 * i for i in range(6)]
LAYOUTS: Mapping[str, Layout] = {
    "wonder3d": Layout(
        SIX_VIEWS,
        colors=("masked_colors/rgb_000_{}.png", "rgb_000_{}.png"),
        normals=("normals_000_{}.png", "normals/normals_000_{}.png"),
    ),
    "era3d": Layout(SIX_VIEWS, colors=("color_{}_masked.png",), normals=("normals_{}_masked.png",)),
    "syncdreamer": Layout(
        _around("sync", [22.5 * i for i in range(SYNC_VIEWS)], [30.0] * SYNC_VIEWS, SYNC_DISTANCE),
        tiles=(1, SYNC_VIEWS),
    ),
    "zero123plus": Layout(_around("zero", _SIX_AROUND, [30.0, -20.0] * 3, ZERO_DISTANCE), (3, 2), 320),
    "zero123plus-1.2": Layout(_around("zero", _SIX_AROUND, [20.0, -10.0] * 3, ZERO_DISTANCE), (3, 2), 320),
}


def layout_of(path: Path) -> str | None:
    """The layout that the files at `path` have, None when they have none of `LAYOUTS`. One picture counts as a grid of
    views only in the size that their programs write; 640 x 960 px is taken for zero123plus.
    """
    front = VIEW_NAMES[0]
    if any((path / ours).is_file() for ours in ("views.json", "run.json")):
        return None
    for name, layout in LAYOUTS.items():
        if path.is_dir() and any((path / pattern.format(front)).is_file() for pattern in layout.colors):
            return name
    picture = _picture(path)
    if picture is None:
        return None
    try:
        height, width = read_png(picture, "RGB", ViewsError).shape[:2]
    except ViewsError:
        return None
    sizes = {n: (v.side * v.tiles[0], v.side * v.tiles[1]) for n, v in LAYOUTS.items() if v.tiles}
    return next((n for n, size in sizes.items() if size == (height, width)), None)


def read_foreign(path: Path, name: str) -> Views:
    """The views at `path` in the layout `name`, colours over white, masks from alpha or, without one, from the
    background; normals None where there are none. Raises ViewsError.
    """
    if name not in LAYOUTS:
        raise ViewsError(f"layout {name}: expected one of {', '.join(LAYOUTS)}")
    layout = LAYOUTS[name]
    if layout.tiles:
        colors, normals = _tiles(path, layout), None
    else:
        colors = np.stack([_load(path, layout.colors, view) for view in layout.rig.names])
        normals = _normals(path, layout)
    warnings = [] if normals is not None else ["these views have no normals: the shape will be that of silhouettes"]
    guessed = (colors if normals is None else normals)[..., 3].min() == 255
    if guessed:
        warnings.append("these pictures have no alpha: masks are guessed from the background")
    find = _cover if guessed else lambda pictures: pictures[..., 3].astype(np.float32) / 255
    mask = find(colors if normals is None else normals)
    color = colors[..., :3].astype(np.float32) / 255
    color = np.where(mask[..., None] > 0, color * mask[..., None] + 1 - mask[..., None], np.float32(1))
    normal = None
    if normals is not None:
        over_white = normals[..., :3] * mask[..., None] + 255 * (1 - mask[..., None])
        normal = decode_normals(over_white.round().astype(np.uint8), mask)
    return Views(color.astype(np.float32), normal, mask, layout.rig, name, tuple(warnings))


def resized(views: Views, size: int = IMAGE_SIZE) -> Views:
    """The same views at `size` px a side; normals keep unit length. Decoders are made for 256."""
    if views.color.shape[1] == size:
        return views
    color, mask = _resize(views.color, size), _resize(views.mask[..., None], size)[..., 0]
    normal = None
    if views.normal is not None:
        normal = np.where(mask[..., None] >= 0.5, _unit(_resize(views.normal, size), 0.1), np.float32(0))
    return Views(color.clip(0, 1), normal, mask.clip(0, 1), views.rig, views.origin, views.warnings)


def shrunk(views: Views, scale: float) -> Views:
    """What the views show, smaller about their middles; normals keep unit length.

    scale: by which it is divided, 2 for half its size.
    """
    normal = None if views.normal is None else _unit(_shrunk(views.normal, scale), 0.5)
    return replace(views, color=_shrunk(views.color, scale), normal=normal, mask=_shrunk(views.mask, scale))


def _unit(normal: Float[np.ndarray, "V H W 3"], least: float) -> Float32[np.ndarray, "V H W 3"]:
    """Normals of unit length; 0 where they were shorter than `least`, which two directions mixed are."""
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.where(length > least, normal / np.maximum(length, least), 0).astype(np.float32)


def _shrunk(pictures: Float[np.ndarray, "V H W *C"], scale: float) -> Float[np.ndarray, "V H W *C"]:
    """Shrunk by `scale` about their middle, linearly interpolated, edges repeated."""
    from scipy.ndimage import affine_transform

    out, start = np.empty_like(pictures), (1 - scale) * (np.array(pictures.shape[1:3]) - 1) / 2
    for view, into in zip(pictures, out, strict=True):
        for c in np.ndindex(view.shape[2:]):
            into[..., *c] = affine_transform(view[..., *c], np.full(2, scale), start, order=1, mode="nearest")
    return out


def _picture(path: Path) -> Path | None:
    """The one picture that is meant: the path itself, or the only PNG of a folder, or its 0.png."""
    if not path.is_dir():
        return path if path.suffix.lower() == ".png" and path.is_file() else None
    found = sorted(path.glob("*.png"))
    return found[0] if len(found) == 1 or (found and found[0].name == "0.png") else None


def _tiles(path: Path, layout: Layout) -> UInt8[np.ndarray, "V H W 4"]:
    """The tiles of one picture, row by row."""
    rows, columns = layout.tiles or (1, 1)
    picture = _picture(path)
    if picture is None:
        raise ViewsError(f"{path}: expected one picture of {rows} x {columns} views; name the file itself")
    pixels = read_png(picture, "RGBA", ViewsError)
    side = pixels.shape[0] // rows
    if pixels.shape[:2] != (rows * side, columns * side) or side < 32:
        size = f"{pixels.shape[1]} x {pixels.shape[0]} px"
        raise ViewsError(f"{picture}: {size}, expected {columns} by {rows} square views; is it from another program?")
    return pixels.reshape(rows, side, columns, side, 4).swapaxes(1, 2).reshape(-1, side, side, 4)


def _load(folder: Path, patterns: tuple[str, ...], view: str) -> UInt8[np.ndarray, "H W 4"]:
    found = next((folder / p.format(view) for p in patterns if (folder / p.format(view)).is_file()), None)
    if found is None:
        raise ViewsError(f"{folder}: {patterns[-1].format(view)} is missing; all of {', '.join(VIEW_NAMES)} are needed")
    pixels = read_png(found, "RGBA", ViewsError)
    if pixels.shape[0] != pixels.shape[1]:
        raise ViewsError(f"{found}: {pixels.shape[1]} x {pixels.shape[0]} px; views must be square")
    return pixels


def _normals(folder: Path, layout: Layout) -> UInt8[np.ndarray, "V H W 4"] | None:
    """All normal maps, or None when there is not one."""
    names = layout.rig.names
    there = [any((folder / p.format(view)).is_file() for p in layout.normals) for view in names]
    if not any(there):
        return None
    return np.stack([_load(folder, layout.normals, view) for view in names])


def _cover(pictures: UInt8[np.ndarray, "V H W 4"]) -> Float32[np.ndarray, "V H W"]:
    """Masks of pictures on an even background, holes closed. Raises ViewsError where the rim has many colours."""
    masks = [cover_on_even(picture) for picture in pictures[..., :3].astype(np.float32) / 255]
    if any(mask is None for mask in masks):
        raise ViewsError("a view without alpha has no even background to be cut out of; give RGBA pictures")
    return np.stack([mask for mask in masks if mask is not None])


def _resize(pictures: Float32[np.ndarray, "V H W C"], size: int) -> Float32[np.ndarray, "V S S C"]:
    """Channel by channel, antialiased."""
    from PIL import Image

    def resize(channel: np.ndarray) -> np.ndarray:
        box = Image.Resampling.BOX if size < len(channel) else Image.Resampling.BILINEAR
        return np.asarray(Image.fromarray(channel).resize((size, size), box))

    return np.stack([np.stack([resize(c) for c in np.moveaxis(p, -1, 0).copy()], axis=-1) for p in pictures])
