"""Subject -> Body: one closed solid that has the photo's outline, and what the network knows of its unseen side.

In: the framed photo, the shape network, a wanted extent in depth or proportions, or neither. Out: `Body`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from scipy.ndimage import convolve1d
from torch import Tensor

from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.boxes import UprightBox, box_field, opposite_colours, upright_box
from img2mv3d.geometry.columns import CROP, SIZE, cropped, network_input
from img2mv3d.geometry.hull import mask_distance
from img2mv3d.geometry.lathe import turned_body
from img2mv3d.geometry.outline import FRONTAL, SURELY_FRONTAL, self_overlap
from img2mv3d.geometry.proportions import misfit, smallest_box
from img2mv3d.geometry.quilting import quilted
from img2mv3d.geometry.rim import rim_colours
from img2mv3d.geometry.sides import carved, front_outline, is_behind, side_camera, side_misfit, side_outline, side_tells
from img2mv3d.geometry.solid import body_field, covering
from img2mv3d.geometry.symmetry import Plane, completed, flipped, mirror_plane
from img2mv3d.mesh.photographs import FACING
from img2mv3d.mesh.upright import elevation, upright
from img2mv3d.nets.shape import PITCH_UNIT_DEG, ShapeMaps, ShapeNet, likely_ratio, ratio_bins
from img2mv3d.values import Body

GRID = 128  # nodes of the field a side
SEARCH_GRID = 80  # the same, while proportions are sought
KNOWN = 0.25  # covered share of a column from which on its depth counts
SEARCHED = (0.08, 1.65)  # extents in depth among which proportions are sought
LIKELY = (0.1, 0.9)  # quantiles of the predicted depths between which seeds draw
COARSE, FINER = 9, 6  # tries over all of them, and then around the best
BLUR = np.array([1, 2, 3, 2, 1]) / 9  # of the chances of planes: what a network knows of angles, in steps of 6 degrees
HALVINGS = 6  # of the searched range, where it is known on which side the answer lies


class _Photo(NamedTuple):
    """What is known of a photo before its extent in depth is chosen; tensors hold it and its mirror image, one behind
    the other. color, cut: colour and alpha as the network's crop has them; framed: the whole photo, alpha: its own."""

    picture: Tensor
    outline: Tensor
    features: list[Tensor]
    color: Float32[np.ndarray, "S S 3"]
    cut: Float32[np.ndarray, "S S"]
    cover: Bool[np.ndarray, "s s"]
    framed: UInt8[np.ndarray, "256 256 4"]
    alpha: Float[np.ndarray, "256 256"]
    long_side: float
    ratios: Float[Tensor, "1 N"]  # logits
    pitch: tuple[float, float]
    planes: Float[np.ndarray, " T"] | None  # chance of each of `symmetry.TURNS` to be a mirror plane
    turn_deg: float | None  # of the mirror plane, where somebody told it


class _Form(NamedTuple):
    """mirror, name, axis, handles: as `Body` has them. box: of a box."""

    field: Float32[np.ndarray, "N N N"]
    mirror: Plane | None
    name: str = ""
    box: UprightBox | None = None
    axis: tuple[float, float, float] | None = None
    handles: bool = False


@torch.no_grad()
def predict_body(
    image: UInt8[np.ndarray, "256 256 4"],
    *,
    net: ShapeNet,
    depth_ratio: float | None = None,
    box_mm: tuple[float, float, float] | None = None,
    seed: int = 0,
    sides: Mapping[float, UInt8[np.ndarray, "256 256 4"]] | None = None,
    facing_deg: float | None = None,
) -> Body:
    """The body of the framed photo (straight alpha), mean over the photo and its mirror image.

    depth_ratio: extent in depth over the outline's long side; None: drawn by the seed.
    box_mm: width, height, depth of the object, instead: the extent in depth at which the upright body's smallest box
        comes nearest to these proportions.
    seed: 0: the median of the predicted depths; others spread evenly over the likely ones, see `quantile_of`.
    sides: other framed photos by azimuth (degrees): their widths give the extent in depth where nobody told it, and
        their outlines carve the body.
    facing_deg: where its front points: 0 to the camera, 90 to the photo's right, -90 to its left. Its left and right
        are taken to be alike. None: predicted.

    Raises NothingFoundError when the photo shows nothing.
    """
    photo, sides = _seen(image, net, facing_deg), sides or {}
    if box_mm is None and depth_ratio is None and any(side_tells(azimuth) for azimuth in sides):

        def wider(ratio: float) -> float:
            body = _body(photo, net, ratio, SEARCH_GRID, told=True)
            return _wider(body, sides)

        return _carved(_body(photo, net, _crossing(wider), GRID, told=True), image, sides)
    if box_mm is None:
        ratio = depth_ratio or float(likely_ratio(photo.ratios, quantile_of(seed)))
        return _carved(_body(photo, net, ratio, GRID, told=depth_ratio is not None), image, sides)

    def tried(ratio: float) -> float:
        body = _body(photo, net, ratio, SEARCH_GRID, told=True)
        return misfit(smallest_box(_upright_surface(body)), box_mm)

    body = _carved(_body(photo, net, _least(tried), GRID, told=True), image, sides)
    return replace(body, box_misfit=misfit(smallest_box(_upright_surface(body)), box_mm))


def quantile_of(seed: int) -> float:
    """Where in the distribution of depths a seed stands: van der Corput's sequence over LIKELY, which begins in the
    middle and leaves no gap however many seeds are tried.

    >>> [round(quantile_of(seed), 2) for seed in range(4)]
    [0.5, 0.3, 0.7, 0.2]
    """
    place, share, number = 0.0, 0.5, seed + 1
    while number:
        place, share, number = place + share * (number % 2), share / 2, number // 2
    return LIKELY[0] + (LIKELY[1] - LIKELY[0]) * place


def _seen(image: UInt8[np.ndarray, "256 256 4"], net: ShapeNet, facing_deg: float | None) -> _Photo:
    color, alpha = cropped(image)
    if not (alpha >= 0.5).any():
        raise NothingFoundError("the photo's cut-out is empty; give another one with --mask")
    both = [network_input(color, alpha), network_input(color[:, ::-1], alpha[:, ::-1])]
    picture, outline = (torch.from_numpy(np.stack(parts)) for parts in zip(*both, strict=True))
    features = net.encode(picture, outline)
    logits, pitch = (part.mean(0) for part in net.distribution(features, outline))
    mirrors = net.planes(features)
    planes = None if mirrors is None else mirrors.sigmoid().numpy()
    rows, columns = np.nonzero(alpha >= 0.5)
    return _Photo(
        picture,
        outline,
        features,
        color,
        alpha,
        alpha.reshape(SIZE // 2, 2, SIZE // 2, 2).mean((1, 3)) >= KNOWN,
        image,
        image[..., 3].astype(np.float32) / 255,
        float((max(np.ptp(rows), np.ptp(columns)) + 1) * 2 * CROP / SIZE),
        logits[None],
        (float(pitch[0]) * PITCH_UNIT_DEG, float(pitch[1].exp()) * PITCH_UNIT_DEG),
        None if planes is None else convolve1d((planes[0] + flipped(planes[1])) / 2, BLUR, mode="wrap"),
        None if facing_deg is None else -facing_deg % 180,
    )


def _body(photo: _Photo, net: ShapeNet, ratio: float, nodes: int, *, told: bool) -> Body:
    """The body of this extent in depth (over the long side)."""
    maps, field = _predicted(photo, net, ratio, nodes)
    overlap = self_overlap(photo.alpha)
    frontal = overlap >= FRONTAL
    elevation_deg = elevation(None, photo.pitch)[0]
    # Who tells the depth, or shows other sides, knows better than what such things are usually like.
    outside = mask_distance(photo.alpha) * (2 / photo.alpha.shape[1])
    found = None if told else _usual_form(field, photo.alpha, outside, elevation_deg, overlap)
    if found is not None and photo.turn_deg is not None:
        found = found._replace(mirror=mirror_plane(found.field, outside, elevation_deg, near_deg=photo.turn_deg))
    elif found is None:
        sure = overlap >= SURELY_FRONTAL
        plane = mirror_plane(field, outside, elevation_deg, sure, photo.planes, photo.turn_deg)
        found = _Form(field if plane is None else completed(field, outside, plane), plane)
    field, plane, form, box, axis, handles = found
    if not form:  # those are what their own outlines say, and would get fins where the photo's is ragged
        field = covering(field, outside)
    assert maps.far is not None and maps.normal is not None
    far = _merged(maps.far).transpose(1, 2, 0)
    normal = maps.normal * torch.tensor([[1.0, 1, 1], [-1, 1, 1]])[:, :, None, None]
    # What the network thinks of the far side tells whether it looks like the near one; where the mirror image does not
    # show it anyway, the colours along the rim are a better guess (their mean 17.7 dB against 17.0 on 42 pictures).
    if box is not None:
        far = opposite_colours(box, photo.color, CROP, far.shape[0])
    elif frontal or plane is None or abs(plane.numbers[2]) <= FACING:
        far = rim_colours(photo.color, photo.cut, far.shape[0])
        if nodes == GRID:  # while proportions are sought nobody looks at colours
            far = _woven(far, photo.framed)
    return Body(
        field=field,
        far=far.clip(0, 1),
        normal=_merged(normal).transpose(1, 2, 0),
        depth_ratio=float(ratio),
        ratios=torch.stack([ratio_bins(photo.ratios.shape[1]), photo.ratios[0].softmax(0)], dim=1).numpy(),
        pitch_deg=photo.pitch[0],
        pitch_spread_deg=photo.pitch[1],
        told=told,
        mirror=None if plane is None else plane.numbers,
        frontal=frontal,
        form=form,
        axis=axis,
        box=None if box is None else box.numbers,
        handles=handles,
    )


def _predicted(
    photo: _Photo, net: ShapeNet, ratio: float, nodes: int
) -> tuple[ShapeMaps, Float32[np.ndarray, "N N N"]]:
    """What the network draws of this extent in depth, and the field of the body."""
    depth = ratio * photo.long_side
    known = torch.ones(2, dtype=torch.bool)
    maps = net.decode(photo.features, photo.picture, photo.outline, torch.full((2,), ratio), known)
    assert maps.fine is not None
    middle = _merged(maps.fine.middle) * depth
    half = np.exp(_merged(maps.fine.log_half)) * depth
    solid = torch.sigmoid(torch.from_numpy(_merged(maps.fine.fill))).movedim(0, -1).numpy()
    return maps, body_field(middle - half, middle + half, photo.cover, solid, photo.alpha, nodes, CROP)


def _woven(far: Float32[np.ndarray, "T T 3"], framed: UInt8[np.ndarray, "256 256 4"]) -> Float32[np.ndarray, "U U 3"]:
    """The far side in the photo's own stuff, at its px."""
    margin = round(framed.shape[0] * (1 - CROP) / 2)
    crop = framed[margin:-margin, margin:-margin].astype(np.float32) / 255
    return quilted(crop[..., :3], crop[..., 3], cv2.resize(far, crop.shape[:2]))


def _usual_form(
    field: Float32[np.ndarray, "N N N"],
    alpha: Float[np.ndarray, "256 256"],
    outside: Float[np.ndarray, "256 256"],
    elevation_deg: float,
    overlap: float,
) -> _Form | None:
    """A box or a turned thing, where the photo shows one. outside: as `mirror_plane` has it. overlap: of the outline
    and its own mirror image."""
    box = upright_box(field, alpha, elevation_deg)
    if box is not None:
        # It is its own mirror image; a plane that is a hair off would only thicken it.
        field = box_field(box, field.shape[0])
        return _Form(field, mirror_plane(field, outside, elevation_deg, overlap >= SURELY_FRONTAL), "box", box)
    turned = turned_body(field, alpha, elevation_deg)
    if turned is None:
        return None
    # Any upright plane through the axis would do. Seen with a handle at one side, both sides of it look alike.
    sin, cos = np.sin(np.radians(elevation_deg)), np.cos(np.radians(elevation_deg))
    facing = Plane(np.array([0.0, -sin, cos]), turned.depth, 1.0)
    sideways = Plane(np.array([1.0, 0, 0]), turned.x, 1.0)
    axis = turned.x, turned.depth, elevation_deg
    plane = sideways if overlap >= FRONTAL else facing
    return _Form(turned.field, plane, "turned", None, axis, turned.handles)


def _wider(body: Body, sides: Mapping[float, UInt8[np.ndarray, "256 256 4"]]) -> float:
    """By how much (logarithm) the body is wider than other photos show it, in the mean."""
    points, elevation_deg = _surface(body), elevation(None, body.pitch)[0]
    telling = {azimuth: image for azimuth, image in sides.items() if side_tells(azimuth)}
    return sum(side_misfit(image, points, a, elevation_deg) for a, image in telling.items()) / len(telling)


def _carved(
    body: Body, image: UInt8[np.ndarray, "256 256 4"], sides: Mapping[float, UInt8[np.ndarray, "256 256 4"]]
) -> Body:
    """What the outlines of other photos leave of it; those from behind only repeat the first one's. image: that one."""
    others = {azimuth: other for azimuth, other in sides.items() if not is_behind(azimuth)}
    if not others:
        return body
    points, elevation_deg = _surface(body), elevation(None, body.pitch)[0]
    outlines = [side_outline(other, points, side_camera(a, elevation_deg)) for a, other in others.items()]
    return replace(body, field=carved(body.field, front_outline(image), outlines), box=None)


def _upright_surface(body: Body) -> Float[np.ndarray, "P 3"]:
    """Points of its surface as `export` turns it (world units)."""
    return upright(_surface(body), elevation(None, body.pitch)[0])


def _surface(body: Body) -> Float[np.ndarray, "P 3"]:
    """Points of its surface (world units)."""
    from mcubes import marching_cubes

    points, _ = marching_cubes(body.field.astype(np.float32), 0.0)
    surface: np.ndarray = points * (2 / (body.field.shape[0] - 1)) - 1
    return surface


def _least(value: Callable[[float], float]) -> float:
    """The ratio of the smallest value among SEARCHED, to about a tenth of their coarse step."""
    tries = {float(r): value(float(r)) for r in np.geomspace(*SEARCHED, COARSE)}
    step = (SEARCHED[1] / SEARCHED[0]) ** (1 / (COARSE - 1))
    for _ in range(FINER // 2):
        step **= 0.5
        best = min(tries, key=tries.__getitem__)
        for near in (best / step, best * step):
            if SEARCHED[0] <= near <= SEARCHED[1]:
                tries[near] = value(near)
    return min(tries, key=tries.__getitem__)


def _crossing(value: Callable[[float], float]) -> float:
    """The ratio among SEARCHED at which a growing value becomes positive, to 3 %."""
    low, high = SEARCHED
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if value(middle) > 0 else (middle, high)
    return float((low * high) ** 0.5)


def _merged(maps: Float[Tensor, "2 ..."]) -> Float32[np.ndarray, "..."]:
    """The mean of a map and of its mirror image's, turned back."""
    return ((maps[0] + maps[1].flip(-1)) / 2).numpy()
