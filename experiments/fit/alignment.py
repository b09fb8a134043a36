"""Views shifted and scaled to where parallel level cameras must agree. Measured, and not used: it finds the moves, but
a fit with them is no better (reports/surface-fit.md).

Without any shape it is known that at elevation 0 a body fills the same rows in every view, that opposite views are
mirror images, and that of a row's eight outermost lines, 45 degrees apart, none stands clear of its neighbours' corner.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import affine_transform

from img2mv3d.conventions import FRONT
from img2mv3d.geometry.antipodal import antipodal_views
from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Rig

MOST_PX = 6.0  # of 256: an outline that ends farther from where the front's does shows something else
MOST_SCALE = 0.05  # the same of sizes
LEAST_PX = 0.75  # of 256: less is left alone, for moving a picture blurs it
FAINT = 0.1  # cover below which a pixel shows nothing
BEHIND = 3  # px
STEP_PX = 0.5  # of 256, of the search sideways
REACH_PX = 3.0  # of 256, of the same
COST = 0.05  # of a move of one px, in px of contradiction per row: of moves that explain as much, the smallest counts
NODES_DEG = 45.0


class Placement(NamedTuple):
    """Where a view's picture lies: scale about the picture's middle, then px to the right and down; as it should by
    default."""

    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0


def placements(mask: Float[np.ndarray, "V H W"], rig: Rig) -> list[Placement]:
    """How far each view is off, as its outline tells; the front view never is.

    Scale and height come from the first and the last row that is covered, against the front's. Opposite views are then
    laid on each other's mirror image; the front's opposite takes all of the move, other pairs share it. What is left,
    moves of single views and of pairs to the side, is the least that makes all outlines outlines of one body. Views
    that end elsewhere by more than MOST_PX or MOST_SCALE, or show nothing, and rigs other than level orthographic ones
    in steps of 45 degrees, are left where they are. Nothing tells a body that is moved along the front's line of sight.
    """
    found = [Placement()] * len(rig)
    level = rig.kind == ORTHOGRAPHIC and not any(rig.elevation_deg)
    if not level or any(a % NODES_DEG for a in rig.azimuth_deg) or mask.shape[1] != mask.shape[2]:
        return found
    px = mask.shape[1] / 256
    ends = [_ends(view.max(1)) for view in mask]
    if ends[FRONT] is None:
        return found
    for i, own in enumerate(ends):
        if i != FRONT and own is not None:
            found[i] = _upright(own, ends[FRONT], mask.shape[1] / 2, px)
    lines = np.stack([_lines(view, place) for view, place in zip(mask, found, strict=True)])
    aside = _aside(lines, rig, px)
    return [_kept(Placement(p.scale, a, p.down), mask.shape[1] / 2, px) for p, a in zip(found, aside, strict=True)]


def realigned(pictures: Float[np.ndarray, "V H W *C"], where: list[Placement]) -> Float[np.ndarray, "V H W *C"]:
    """The pictures moved back, linearly interpolated, edges repeated. Views in their place come back bit for bit."""
    out = pictures.copy()
    middle = (np.array(pictures.shape[1:3]) - 1) / 2
    for view, place in zip(out, where, strict=True):
        if place != Placement():
            start = np.array([place.down, place.right]) + (1 - place.scale) * middle
            channels = view[..., None] if view.ndim == 2 else view
            for c in range(channels.shape[-1]):
                channels[..., c] = affine_transform(
                    channels[..., c], np.full(2, place.scale), start, order=1, mode="nearest"
                )
    return out


def realigned_normals(normal: Float[np.ndarray, "V H W 3"], where: list[Placement]) -> Float[np.ndarray, "V H W 3"]:
    """The same for unit normals, (0, 0, 0) where there are none: half ones at an edge become whole ones or none."""
    out = realigned(normal, where)
    for view, place in zip(out, where, strict=True):
        if place != Placement():
            length = np.linalg.norm(view, axis=-1, keepdims=True)
            view[:] = np.where(length > 0.5, view / np.maximum(length, 0.5), 0)
    return out


def _upright(own: tuple[float, float], front: tuple[float, float], middle: float, px: float) -> Placement:
    """Scale and height that lay one pair of ends on the other."""
    first, last = own[0] - front[0], own[1] - front[1]
    if max(abs(first), abs(last)) > MOST_PX * px:
        return Placement()
    if abs(last - first) < LEAST_PX * px:  # of a low body, half a pixel would be some per cent
        return Placement(1.0, 0.0, (first + last) / 2)
    scale = (own[1] - own[0]) / (front[1] - front[0])
    if abs(scale - 1) > MOST_SCALE:
        return Placement()
    return Placement(scale, 0.0, own[0] - middle - scale * (front[0] - middle))


def _kept(place: Placement, half: float, px: float) -> Placement:
    """The placement without what moves nothing by LEAST_PX. Where the size is right, whole px: nothing is blurred, and
    what is thinner than a pixel stays as strong as it was.
    """
    least = LEAST_PX * px
    if abs(place.scale - 1) * half >= least:
        return Placement(place.scale, place.right if abs(place.right) >= least else 0.0, place.down)
    return Placement(1.0, *(float(round(v)) if abs(v) >= least else 0.0 for v in (place.right, place.down)))


def _ends(profile: Float[np.ndarray, " N"]) -> tuple[float, float] | None:
    """Where a line's first covered stretch begins and its last one ends, px, from how much of the outermost pixel is
    covered. Coverage counts against the most that is found within BEHIND pixels: a sheet seen edge-on fills none.
    """
    inside = np.flatnonzero(profile > FAINT)
    if not len(inside):
        return None
    first, last = inside[0], inside[-1]
    share = profile[first] / profile[first : first + BEHIND].max(), profile[last] / profile[: last + 1][-BEHIND:].max()
    return float(first + 1 - share[0]), float(last + share[1])


def _lines(view: Float[np.ndarray, "H W"], place: Placement) -> Float[np.ndarray, "H 2"]:
    """Left and right end of each row of the view as placed, px right of the middle; NaN where the row is empty."""
    upright = realigned(view[None], [place])[0]
    ends = [_ends(row) for row in upright]
    return np.array([(np.nan, np.nan) if e is None else e for e in ends]) - view.shape[1] / 2


def _aside(lines: Float[np.ndarray, "V H 2"], rig: Rig, px: float) -> Float[np.ndarray, " V"]:
    """How far each view is off to the right, px. lines: of `_lines`."""
    off = np.zeros(len(lines))
    groups = {i: [(i, 1.0)] for i in range(len(lines))}  # views that move together, and which way
    for i, j in antipodal_views(rig):
        centres = (lines[i].sum(1) + lines[j].sum(1)) / 2  # of a mirrored pair: 0
        if not np.isfinite(centres).any():
            continue
        apart = float(np.nanmedian(centres))
        if abs(apart) > 2 * MOST_PX * px:
            continue
        if FRONT in (i, j):
            off[j if i == FRONT else i] = apart
        else:
            off[i] = off[j] = apart / 2
        groups[i] = [(i, 1.0), (j, -1.0)]
        groups.pop(j)
    placed = lines - off[:, None, None]
    reaches = np.stack([placed[..., 1], -placed[..., 0]], -1)
    steps = np.arange(-REACH_PX, REACH_PX + STEP_PX / 2, STEP_PX) * px
    moved = np.zeros(len(lines))
    free = [group for key, group in groups.items() if FRONT not in [i for i, _ in group]]
    for _ in range(3):  # one group after the other, thrice round
        for group in free:
            ways = []
            for step in steps:
                trial = moved.copy()
                for i, sign in group:
                    trial[i] = sign * step
                ways.append(_contradiction(reaches, trial, rig) + COST * np.abs(trial).sum())
            best = steps[int(np.argmin(np.array(ways) + 1e-6 * np.abs(steps)))]
            for i, sign in group:
                moved[i] = sign * best
    return off + moved


def _contradiction(reach: Float[np.ndarray, "V H 2"], moved: Float[np.ndarray, " V"], rig: Rig) -> float:
    """Mean over rows of by how much, px, lines stand clear of the corner that their neighbours form. reach: of the body
    to each view's right and left.
    """
    around = np.full((8, reach.shape[1], len(reach)), np.nan)
    for i, azimuth in enumerate(rig.azimuth_deg):
        place = round(azimuth / NODES_DEG)
        around[place % 8, :, i] = reach[i, :, 0] - moved[i]
        around[(place + 4) % 8, :, i] = reach[i, :, 1] + moved[i]
    known = np.isfinite(around)
    line = np.where(known, around, 0).sum(2) / np.where(known.any(2), known.sum(2), np.nan)
    clear = line - (np.roll(line, 1, 0) + np.roll(line, -1, 0)) / np.sqrt(2)
    return float(np.nansum(np.maximum(clear, 0)) / max(int(np.isfinite(clear).any(0).sum()), 1))
