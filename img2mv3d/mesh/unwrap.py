"""A mesh -> charts in a square. Faces are grouped by the axis they look along and laid flat by projection, which takes
a tenth of the time of a general unwrapper on our dense meshes, and keeps letters straight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from img2mv3d.mesh.arrays import face_normals, vertex_normals
from img2mv3d.mesh.raster import claims, cover

AXES = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], float)
STEEPEST = 0.25  # cosine to the axis below which a face is not laid along it: it would be drawn out four times
TOGETHER = 0.2  # cosine that agreeing with one neighbour is worth: smooths the borders between charts
SWEEPS = 12
PADDING = 2  # texels round each chart
SPLITS = 6  # rounds of taking apart what lies on itself


class Chart(NamedTuple):
    """original: int64 [M], old vertex of each new one (vertices are doubled along seams).
    faces: int64 [F, 3] into the new vertices, in the old order.
    uv: float64 [M, 2], v upwards.
    face: int64 [T, T], the face at each texel's centre, -1 for none.
    bary: float64 [T, T, 3], where inside of it.
    density: texels per world unit where a face looks straight along its axis; 0 when the texture is too small for the
        charts, and then uv means nothing.
    charts: how many.
    """

    original: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    face: np.ndarray
    bary: np.ndarray
    density: float
    charts: int


def unwrap(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], size: int) -> Chart:
    """Charts in a square of `size` texels, `PADDING` texels apart; no two faces share a texel's centre.

    (A face that still lies on another one after `SPLITS` rounds shares its colour; fewer than one in a thousand.)
    """
    pairs = _neighbours(faces)
    axis = _axes(vertices, faces, pairs)
    layer = np.zeros(len(faces), np.int64)
    for attempt in range(SPLITS):
        count, chart = _components(axis, layer, pairs)
        original, corners, px, density = _lay_flat(vertices, faces, axis, chart, count, size)
        key = -np.einsum("mc,mc->m", vertices[original], AXES[_axis_of(corners, axis, len(original))])
        face, bary = cover(px, key, corners, size, size)
        lost = claims(px, corners, size, size) > np.bincount(face[face >= 0], minlength=len(faces))
        if not lost.any() or attempt == SPLITS - 1:
            break
        layer[lost] += 1  # what lies behind becomes a chart of its own
    uv = np.stack([px[:, 0] / size, 1 - px[:, 1] / size], axis=1)
    return Chart(original, corners, uv, face, bary, density, count)


def _neighbours(faces: np.ndarray) -> np.ndarray:
    """int64 [E, 2]: pairs of faces that share an edge."""
    count = int(faces.max()) + 1
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    key = np.minimum(start, end) * count + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    return np.stack([order[same] // 3, order[same + 1] // 3], axis=1)


def _axes(vertices: np.ndarray, faces: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """int64 [F], the axis of each face: the one it looks along most, with its neighbours' opinion."""
    flat = face_normals(vertices, faces)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-20)
    smooth = vertex_normals(vertices, faces)[faces].mean(1)
    allowed = np.where(flat @ AXES.T > STEEPEST, 0.0, -10.0)
    own = 0.5 * (flat + smooth) @ AXES.T + allowed
    label = own.argmax(1)
    one, two = pairs[:, 0], pairs[:, 1]
    for sweep in range(SWEEPS):
        vote = np.zeros_like(own)
        np.add.at(vote, (one, label[two]), TOGETHER)
        np.add.at(vote, (two, label[one]), TOGETHER)
        turn = np.arange(len(faces)) % 2 == sweep % 2  # not all at once, or two neighbours would swap for ever
        label = np.where(turn, (own + vote).argmax(1), label)
    return label


def _components(axis: np.ndarray, layer: np.ndarray, pairs: np.ndarray) -> tuple[int, np.ndarray]:
    """(count, chart of each face): connected, of one axis and layer."""
    kind = axis + len(AXES) * layer
    one, two = pairs[kind[pairs[:, 0]] == kind[pairs[:, 1]]].T
    graph = coo_matrix((np.ones(len(one), bool), (one, two)), shape=(len(axis), len(axis)))
    count, chart = connected_components(graph, directed=False)
    return int(count), chart.astype(np.int64)


def _axis_of(corners: np.ndarray, axis: np.ndarray, count: int) -> np.ndarray:
    """int64 [M], the axis of each new vertex."""
    result = np.zeros(count, np.int64)
    result[corners.ravel()] = np.repeat(axis, 3)
    return result


def _lay_flat(
    vertices: np.ndarray, faces: np.ndarray, axis: np.ndarray, chart: np.ndarray, count: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """(original [M], corners [F, 3], px [M, 2], density): charts projected along their axes and packed."""
    pair, index = np.unique(np.repeat(chart, 3) * len(vertices) + faces.ravel(), return_inverse=True)
    owner, original = np.divmod(pair, len(vertices))
    corners = index.reshape(faces.shape).astype(np.int64)
    towards = AXES[_axis_of(corners, axis, len(pair))]
    up = np.where(np.abs(towards[:, 1:2]) > 0.5, [[0.0, 0, -1]], [[0.0, 1, 0]])
    right = np.cross(up, towards)
    place = vertices[original]
    flat = np.stack([(place * right).sum(1), -(place * up).sum(1)], axis=1)
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, owner, flat)
    np.maximum.at(high, owner, flat)
    flat -= low[owner]
    extent = high - low
    tall = extent[:, 1] > extent[:, 0]  # laid on their side (turned, not mirrored), or shelves would be wasted
    turned = np.stack([flat[:, 1], extent[owner, 0] - flat[:, 0]], axis=1)
    flat = np.where(tall[owner, None], turned, flat)
    corner, density = _pack(np.where(tall[:, None], extent[:, ::-1], extent), size)
    return original, corners, flat * density + corner[owner] + PADDING, density


def _pack(extent: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """(top left px [K, 2], px per world unit): the largest scale at which boxes fit on shelves, tallest first."""
    low, high = 0.0, size / max(float(extent.max()), 1e-9)
    best = None
    for _ in range(14):
        density = (low + high) / 2
        corner = _shelves(np.ceil(extent * density).astype(np.int64) + 2 * PADDING, size)
        if corner is None:
            high = density
        else:
            best, low = (corner, density), density
    if best is None:  # more charts than the texture has room for
        return np.zeros(extent.shape), 0.0
    return best


def _shelves(boxes: np.ndarray, size: int) -> np.ndarray | None:
    order = np.lexsort((-boxes[:, 0], -boxes[:, 1]))
    corner = np.zeros(boxes.shape)
    x = y = shelf = 0
    for index, (width, height) in zip(order.tolist(), boxes[order].tolist(), strict=True):
        if x + width > size:
            x, y, shelf = 0, y + shelf, 0
        if width > size or y + height > size:
            return None
        shelf = shelf or height
        corner[index] = x, y
        x += width
    return corner
