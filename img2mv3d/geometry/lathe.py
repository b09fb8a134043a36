"""Turned things: where a photo's outline and the predicted body are those of a body of revolution, the body is one.

In: a field, the photo's outline, the elevation. Out: a field. Cups, bowls, jars and lamps are common; what a network
says of them differs from side to side, and the walls of a cup that it sees into tear where they run along the line of
sight. Round the axis all sides vote; what stands out of the outline of the round part, a handle, stays as it was.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import (
    distance_transform_edt,
    gaussian_filter,
    gaussian_filter1d,
    label,
    map_coordinates,
    maximum,
    maximum_filter,
    median_filter,
)

from img2mv3d.geometry.hull import on_nodes

# Least IoU of the predicted body and the round part, hollows filled, by the share of the outline that neither the round
# part nor handles fill. Seen level every symmetric outline is filled, and only the body tells; so with handles, of
# which every outline has some.
UNFILLED, LEAST_IOU = (0.01, 0.03), (0.6, 0.72)
LEVEL_DEG, LEAST_IOU_LEVEL = 10.0, 0.87
MOST_HANDLES = 0.2  # share of the outline
# With handles, more for their share of the outline, and for it times what is left out: beside its jaw a skull lacks
# four times as much as a kettle beside its spout.
LEAST_IOU_HANDLES = (0.78, 0.15, 8.0)
SHIFTS = np.linspace(-0.15, 0.15, 31)  # of the axis, in widths of the outline, round its middle
FLATTEST = 0.05  # sine of the elevation below which ellipses are lines
RADII, SIDES = 32, 64  # of a disc: rings, and places on each
WALL = 0.88  # of the radius: what lies farther out is solid where anything near it is
NEAR_WALL = 0.7
MAJORITY = 0.4  # of the sides that make a ring solid: the walls of hollow things are torn at some
SMOOTH = 1.5  # px along the axis, of the radii
LOOSE = 0.02  # share of the body that hangs in the air and is left out; more: it is no such body
KNOB, KNOB_PX = 0.3, 2.0  # of the largest radius; px by which an outline lacks it
FOOT = 0.85  # of the lowest solid disc's radius, the least of a disc that it stands on
GROWN = 0.006  # world units, as far as the photo's outline lets it: rings are whole ones, and end within their last
NEAR_RIM = 0.05  # world units within the outline, over which that fades: in front and behind nothing tells of it
RIM = 1.5  # px: what stands out of the round part by less is its rim, drawn by another camera
ROOTS = 4.0  # px that handles reach into it
HANDLE = 0.08  # of the round part's width: what reaches farther out is a handle


class Turned(NamedTuple):
    """field: about the signed distance (world units, negative inside, nodes linspace(-1, 1, N)). x, depth: of its axis,
    see `Axis`. handles: whether it has any."""

    field: Float32[np.ndarray, "N N N"]
    x: float
    depth: float
    handles: bool


class Axis(NamedTuple):
    """The upright axis and the discs on it.

    x: where it stands. depth: along the horizon's direction away from the camera, world units. sin, cos: of the
    elevation. heights: along the axis. radii: of the largest discs whose picture lies within the outline.
    """

    x: float
    depth: float
    sin: float
    cos: float
    heights: Float[np.ndarray, " R"]
    radii: Float[np.ndarray, " R"]


def turned_body(
    field: Float32[np.ndarray, "N N N"], alpha: Float[np.ndarray, "H W"], elevation_deg: float
) -> Turned | None:
    """The turned body with its handles, or None where the photo shows none.

    field: of the predicted body, as `Turned` has it. alpha: the photo's, over +-1. elevation_deg: of its camera.
    """
    mask = alpha >= 0.5
    if not mask.any() or not (field < 0).any():
        return None
    axis, silhouette = _axis(field, mask, elevation_deg)
    handles = _handles(mask, silhouette)
    unfilled, sticking = (float((part & ~silhouette).sum() / mask.sum()) for part in (mask & ~handles, handles))
    if unfilled > UNFILLED[-1] or sticking > MOST_HANDLES:
        return None
    votes = _with_knobs(_votes(field, axis), axis)
    line = np.linspace(-1, 1, field.shape[0], dtype=np.float32)
    turned = _revolved(votes, axis, line)
    within = _outside(silhouette, line) < 0
    predicted, round_ = (_filled((f < 0) & within) for f in (field, turned))
    least = np.interp(unfilled, UNFILLED, LEAST_IOU)
    if handles.any():
        least = max(least, float(np.dot(LEAST_IOU_HANDLES, (1, sticking, sticking * unfilled))))
    if abs(elevation_deg) < LEVEL_DEG:
        least = max(least, LEAST_IOU_LEVEL)
    if (predicted & round_).sum() < least * (predicted | round_).sum():
        return None
    turned = _revolved(_with_rim(votes, axis), axis, line)
    if handles.any():
        turned = np.minimum(turned, _inflated(handles, axis, line)).astype(np.float32)
        pieces, _ = label(turned < 0)
        sizes = np.bincount(pieces.ravel())[1:]
        if sizes.sum() - sizes.max() > LOOSE * sizes.sum():
            return None  # legs, or what stands on it: no handles of this body
        loose = (pieces > 0) & (pieces != 1 + sizes.argmax())
        turned[loose] = -turned[loose]
    beyond = _outside(mask, line)
    grown = turned - GROWN * (1 + beyond / NEAR_RIM).clip(0, 1)
    turned = np.maximum(grown, np.minimum(turned, beyond)).astype(np.float32)
    return Turned(turned, axis.x, axis.depth, bool(handles.any()))


def _axis(
    field: Float32[np.ndarray, "N N N"], mask: Bool[np.ndarray, "H W"], elevation_deg: float
) -> tuple[Axis, Bool[np.ndarray, "H W"]]:
    """The axis whose largest discs fill the outline best, and what they fill of it."""
    sin, cos = np.sin(np.radians(elevation_deg)), np.cos(np.radians(elevation_deg))
    flat = max(abs(sin), FLATTEST)
    unit = 2 / mask.shape[1]
    # A disc's picture is an ellipse; with rows pulled apart it is a circle, and the largest one a distance.
    room = distance_transform_edt(mask, sampling=(unit / flat, unit))
    inside = np.argwhere(field[::2, ::2, ::2] < 0) * (4 / (field.shape[0] - 1)) - 1
    depth = float((inside @ (0, -sin, cos)).mean())
    columns = np.nonzero(mask.any(0))[0]
    y = 1 - (np.arange(mask.shape[0]) + 0.5) * unit
    rise = (y[:, None] - y[None, :]) / flat  # of a row over a disc's middle
    x = (np.arange(mask.shape[1]) + 0.5) * unit - 1
    best: tuple[float, float, np.ndarray, np.ndarray] | None = None
    for shift in SHIFTS:
        place = (columns.min() + columns.max()) / 2 + shift * np.ptp(columns)
        column = int(np.clip(round(place), 0, mask.shape[1] - 1))
        radii = np.minimum(gaussian_filter1d(room[:, column], SMOOTH), room[:, column] + unit)
        wide = np.sqrt(np.clip(radii[None, :] ** 2 - rise**2, 0, None)).max(1)
        if best is None or wide.sum() > best[0]:
            best = float(wide.sum()), float(x[column]), radii, wide
    assert best is not None
    _, middle, radii, wide = best
    silhouette = (np.abs(x[None, :] - middle) <= wide[:, None]) & mask
    heights = (y + depth * sin) / cos
    return Axis(middle, depth, float(sin), float(cos), heights[::-1].copy(), radii[::-1].copy()), silhouette


def _handles(mask: Bool[np.ndarray, "H W"], silhouette: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """What stands out of the round part's silhouette far enough, down to its rim."""
    out = distance_transform_edt(~silhouette) * mask
    pieces, count = label(out > RIM)
    far = maximum(out, pieces, np.arange(1, count + 1)) > HANDLE * np.ptp(np.nonzero(silhouette.any(0))[0])
    kept = np.isin(pieces, 1 + np.nonzero(far)[0])
    grown: np.ndarray = (distance_transform_edt(~kept) <= ROOTS) & mask if kept.any() else kept
    return grown


def _inflated(
    handles: Bool[np.ndarray, "H W"], axis: Axis, line: Float32[np.ndarray, " N"]
) -> Float[np.ndarray, "N N N"]:
    """About the signed distance to tubes of the handles' outline, in the upright plane through the axis that faces the
    camera: farther in front or behind they would hardly stand out."""
    unit = 2 / handles.shape[1]
    inside = distance_transform_edt(handles)
    # Of a round tube: what is left of its radius at this distance from its rim.
    radius = maximum_filter(inside, footprint=np.hypot(*np.mgrid[-5:6, -5:6]) <= 5) * handles
    half = gaussian_filter(np.sqrt(np.clip(inside * (2 * radius - inside), 0, None)), 0.7) * unit
    thick = on_nodes(half, line)
    _, y, z = np.meshgrid(line, line, line, indexing="ij", sparse=True)
    away = np.abs(z * axis.cos - y * axis.sin - axis.depth)
    return np.maximum(away - thick[:, :, None], _outside(handles, line))


def _votes(field: Float32[np.ndarray, "N N N"], axis: Axis) -> Float[np.ndarray, "R K"]:
    """How much of every ring, by height and by share of the radius, the predicted body fills, 0 to 1."""
    share = (np.arange(RADII) + 0.5) / RADII
    turn = (np.arange(SIDES) + 0.5) * (2 * np.pi / SIDES)
    radius = axis.radii[:, None, None] * share[:, None]
    across, away = radius * np.cos(turn), axis.depth + radius * np.sin(turn)
    height = np.broadcast_to(axis.heights[:, None, None], across.shape)
    points = axis.x + across, height * axis.cos - away * axis.sin, height * axis.sin + away * axis.cos
    nodes = field.shape[0]
    found = map_coordinates(field, [(p + 1) * ((nodes - 1) / 2) for p in points], order=1, mode="nearest")
    votes = median_filter((found < 0).mean(2), size=3)
    wall, near = share >= WALL, share >= NEAR_WALL
    votes[:, wall] = np.maximum(votes[:, wall], votes[:, near].max(1, keepdims=True))
    there = np.nonzero((votes[:, wall] >= MAJORITY).any(1))[0]
    if len(there):  # a wall has no gaps: its outline has none
        votes[there.min() : there.max() + 1, wall] = 1
    return votes


def _with_knobs(votes: Float[np.ndarray, "R K"], axis: Axis) -> Float[np.ndarray, "R K"]:
    """Votes with thin discs on top solid where the outline cannot be without them: a knob on a lid, which a predicted
    body has beside the axis."""
    _, top, lacking = _lacking(votes, axis)
    found, share = votes.copy(), (np.arange(RADII) + 0.5) / RADII
    for disc in lacking:
        if disc > top and axis.radii[disc] < KNOB * axis.radii.max():
            below = slice(top, disc + 1)
            found[below][share * axis.radii[below, None] <= axis.radii[disc]] = 1
    return found


def _with_rim(votes: Float[np.ndarray, "R K"], axis: Axis) -> Float[np.ndarray, "R K"]:
    """Votes with a wall up to the wide disc, and a base down to the disc, that the outline cannot be without: the lip
    of a cup, of which a predicted body has the near side only, and the foot that it ends short of."""
    bottom, top, lacking = _lacking(votes, axis)
    found, wall = votes.copy(), (np.arange(RADII) + 0.5) / RADII >= WALL
    for disc in lacking:
        if disc < bottom:
            if axis.radii[disc] >= FOOT * axis.radii[bottom]:  # smaller ones are an outline that this tilt does not fit
                found[disc:bottom] = 1
        elif axis.radii[disc] >= KNOB * axis.radii.max():
            found[top : disc + 1, wall] = 1
    return found


def _lacking(votes: Float[np.ndarray, "R K"], axis: Axis) -> tuple[int, int, list[int]]:
    """The lowest and the highest disc that are solid, and those below and above that the outline cannot be without."""
    unit = (axis.heights[1] - axis.heights[0]) * axis.cos
    place = np.arange(len(votes)) * unit / max(abs(axis.sin), FLATTEST)
    width = np.sqrt(np.clip(axis.radii**2 - (place[:, None] - place) ** 2, 0, None))  # [row of the picture, disc]
    needed, solid = width.max(1), votes.max(1) >= MAJORITY
    there = np.nonzero(solid)[0]
    bottom, top = (int(there.min()), int(there.max())) if len(there) else (0, 0)
    lacking = np.nonzero(needed > (width * solid).max(1) + KNOB_PX * unit)[0]
    # Of the discs that a row may show the largest: those farther up or down are smaller, and need not be there.
    shown = [int(np.where(width[row] >= needed[row] - unit, axis.radii, 0).argmax()) for row in lacking]
    return bottom, top, sorted({disc for disc in shown if not bottom <= disc <= top})


def _revolved(
    votes: Float[np.ndarray, "R K"], axis: Axis, line: Float32[np.ndarray, " N"]
) -> Float32[np.ndarray, "N N N"]:
    """About the signed distance to what MAJORITY of the votes fills."""
    step = axis.heights[1] - axis.heights[0]
    reach = np.arange(0, axis.radii.max() + 4 * step, step)
    # From shares of the radius to radii; outside of the last ring nothing is solid.
    ring = np.minimum(reach[None, :] / np.maximum(axis.radii[:, None], 1e-6) * RADII - 0.5, RADII - 0.5)
    row = np.broadcast_to(np.arange(len(votes))[:, None], ring.shape)
    level = map_coordinates(np.pad(votes, ((0, 0), (0, 1))), [row, ring], order=1, mode="nearest")
    solid = (level >= MAJORITY) & (reach[None, :] <= axis.radii[:, None])
    signed = distance_transform_edt(~solid) - distance_transform_edt(solid)
    signed = (signed - 0.5 * np.sign(signed)) * step
    x, y, z = np.meshgrid(line, line, line, indexing="ij", sparse=True)
    height, away = y * axis.cos + z * axis.sin, z * axis.cos - y * axis.sin - axis.depth
    radius = np.sqrt((x - axis.x) ** 2 + away**2)
    place = [np.broadcast_to((height - axis.heights[0]) / step, radius.shape), radius / step]
    return map_coordinates(signed, place, order=1, mode="nearest").astype(np.float32)


def _filled(solid: Bool[np.ndarray, "N N N"]) -> Bool[np.ndarray, "N N N"]:
    """All that lies between the first and the last solid place of each line of sight."""
    before = np.maximum.accumulate(solid, axis=2)
    behind = np.maximum.accumulate(solid[..., ::-1], axis=2)[..., ::-1]
    return before & behind


def _outside(mask: Bool[np.ndarray, "H W"], line: Float32[np.ndarray, " N"]) -> Float[np.ndarray, "N N 1"]:
    """Distance to an outline in the picture (world units, positive outside) at nodes [x, y, 1]."""
    unit = 2 / mask.shape[1]
    signed = (distance_transform_edt(~mask) - distance_transform_edt(mask)) * unit
    return on_nodes(signed, line)[:, :, None]
