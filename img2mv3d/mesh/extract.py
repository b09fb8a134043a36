"""A signed distance grid -> a closed triangle mesh of a requested size. The only isosurface of the project."""

from __future__ import annotations

from typing import NamedTuple

import fast_simplification
import mcubes
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from img2mv3d.errors import NothingFoundError, SurfaceError
from img2mv3d.mesh.arrays import face_normals
from img2mv3d.mesh.fairing import faired
from img2mv3d.mesh.raster import cover

SMOOTHING = 0.5  # cells: takes the fit's one-cell ripple away; 1.0 would eat plates that are two cells thick
WORTH_A_WORD = 0.005  # share of an outline: less that was dropped is dust, as in every mesh
OUTLINE_PX = 192  # a side, of the outlines in which it is looked for
SMALLEST_PIECE = 0.01  # of the largest piece's faces; what is smaller is a floater
THIN = 1.5  # cells: where the body is nowhere deeper, it is not smoothed; the blur would eat plates and rods
OFF_NODE = 1e-3  # cells: no vertex closer to a node, since one on it makes triangles without area
AGGRESSION = (7.0, 3.0)  # of fast-simplification, tried in this order until the result is closed
ROUGH = (
    600_000  # faces of an isosurface: a smooth body has 200,000 on the finest grid; more is noise, and takes minutes
)
MANY = 2_000  # doubled edges: more are not worth mending
VOLUME_KEPT = 0.05  # a decimation that changes the volume by more has folded something


class Extraction(NamedTuple):
    """vertices: float64 [N, 3], world units.
    faces: int64 [F, 3], counter-clockwise seen from outside.
    notes: watertight (bool), faces, faces_before (decimation), pieces, pieces_dropped (floaters), voids_dropped (hollow
        spaces that nobody can see), volume (world units cubed), warnings (list of sentences).
    """

    vertices: np.ndarray
    faces: np.ndarray
    notes: dict


def extract(
    sdf: Float[np.ndarray, "N N N"],
    *,
    faces: int = 20_000,
    smoothing: float = SMOOTHING,
    fair: bool = False,
    outline: Float[np.ndarray, "H W"] | None = None,
) -> Extraction:
    """The zero level of `sdf` (world units, negative inside, nodes linspace(-1, 1, N) along x, y, z), always closed.

    Where the body reaches the grid's border it is capped there. Raises NothingFoundError when nothing is inside,
    SurfaceError on NaN, ValueError when `faces` is below 12.

    faces: at most so many triangles (more only when no closed mesh with so few was found, with a warning).
    smoothing: standard deviation in cells of the blur of the field; thin parts are left as they are.
    fair: whether steps of what the field was made from are taken away (`mesh.fairing`), which costs exact surfaces a
        twentieth of a cell. outline: what is kept then, as `mesh.fairing` has it.
    """
    if faces < 12:
        raise ValueError(f"faces {faces}: a body wants at least 12")
    notes: dict = {"warnings": []}
    vertices, triangles = _cleaned(sdf, smoothing, notes)
    while len(triangles) > ROUGH:
        smoothing = max(1.0, 2 * smoothing)
        vertices, triangles = _cleaned(sdf, smoothing, notes)
        notes["warnings"] = [f"the surface is very rough: it was smoothed over {smoothing:g} cells of its grid"]
    notes["faces_before"] = len(triangles)
    if fair:
        vertices = faired(vertices, triangles, 2 / (sdf.shape[0] - 1), outline)
    vertices, triangles = _decimate(vertices, triangles, faces, notes["warnings"])
    notes["faces"] = len(triangles)
    notes["watertight"] = is_closed(triangles)
    notes["volume"] = volume(vertices, triangles)
    if not notes["watertight"]:
        notes["warnings"].append("the mesh has boundary or non-manifold edges; a slicer may have to repair it")
    return Extraction(vertices, triangles, notes)


def isosurface(
    sdf: Float[np.ndarray, "N N N"], *, smoothing: float = 0.0
) -> tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, "F 3"]]:
    """The zero level as it is, before anything is dropped: (vertices in world units, faces outwards).

    Raises as `extract`.
    """
    if not np.isfinite(sdf).all():
        raise SurfaceError("the surface's field holds values that are not numbers; run reconstruct again")
    inside = np.argwhere(sdf < 0)
    if len(inside) == 0:
        raise NothingFoundError("the surface is empty: no point lies inside; look at the views and their masks")
    nodes = sdf.shape[0]
    cell = 2.0 / (nodes - 1)
    margin = 2 + int(np.ceil(3 * smoothing))
    low = (inside.min(0) - margin).clip(0, None)
    high = (inside.max(0) + margin + 1).clip(None, nodes)
    part = sdf[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32) / np.float32(cell)
    part = np.pad(part.clip(-4, 4), 1, constant_values=1.0)  # a layer outside: what leaves the grid is capped
    if smoothing > 0:
        smooth = gaussian_filter(part, smoothing, mode="nearest", truncate=3.0)
        # what is so rough that it must be smoothed more is thin by mistake
        part = np.where(_thin(part), part, smooth) if smoothing <= SMOOTHING else smooth
        for axis in range(3):  # the blur may carry the body into the layer
            for end in (0, -1):
                np.moveaxis(part, axis, 0)[end] = np.maximum(np.moveaxis(part, axis, 0)[end], OFF_NODE)
    near = np.abs(part) < OFF_NODE
    part[near] = np.where(part[near] < 0, -OFF_NODE, OFF_NODE)
    vertices, triangles = mcubes.marching_cubes(-part, 0.0)  # negated, or the faces would look inwards
    if len(triangles) == 0:
        raise NothingFoundError("the surface is empty: what lies inside is thinner than a cell of the grid")
    vertices = (vertices - 1 + low) * cell - 1.0
    return vertices, triangles.astype(np.int64)


def _thin(part: Float[np.ndarray, "X Y Z"]) -> Bool[np.ndarray, "X Y Z"]:
    """Nodes in and next to parts of the body that are nowhere deeper than THIN cells. part: cells, negative inside."""
    deepest = maximum_filter(-part, size=2 * int(np.ceil(THIN)) + 1, mode="nearest")
    return (deepest > 0) & (deepest < THIN) & (part < 1)


def is_closed(faces: Int[np.ndarray, "F 3"]) -> bool:
    """True when every edge belongs to exactly two faces that run along it in opposite directions."""
    if len(faces) == 0:
        return False
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    count = int(faces.max()) + 1
    forth, back = np.sort(start * count + end), np.sort(end * count + start)
    return bool((forth[1:] != forth[:-1]).all() and (forth == back).all() and (start != end).all())


def volume(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> float:
    """Signed volume in world units cubed; positive when the faces look outwards."""
    return float(np.einsum("fc,fc->", vertices[faces[:, 0]], face_normals(vertices, faces)) / 6)


def _pieces(faces: np.ndarray) -> tuple[int, np.ndarray]:
    """(count, piece of each face), by shared vertices."""
    count = int(faces.max()) + 1
    start, end = faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()
    graph = coo_matrix((np.ones(len(start), bool), (start, end)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    used, piece = np.unique(label[faces[:, 0]], return_inverse=True)
    return len(used), piece


def _cleaned(sdf: np.ndarray, smoothing: float, notes: dict) -> tuple[np.ndarray, np.ndarray]:
    """The isosurface without floaters (below `SMALLEST_PIECE` of the largest piece) and without hollow spaces."""
    vertices, faces = isosurface(sdf, smoothing=smoothing)
    count, piece = _pieces(faces)
    size = np.bincount(piece, minlength=count)
    part = np.einsum("fc,fc->f", vertices[faces[:, 0]], face_normals(vertices, faces))
    hollow = np.bincount(piece, part, minlength=count) < 0  # faces look into it: a bubble inside of the body
    outer = np.where(hollow, 0, size).max()
    kept = ~hollow & (size >= SMALLEST_PIECE * outer)
    dropped = ~hollow & ~kept
    notes |= {"pieces": int(kept.sum()), "pieces_dropped": int(dropped.sum()), "voids_dropped": int(hollow.sum())}
    if (share := _missed(vertices, faces[dropped[piece]], faces[kept[piece]])) > WORTH_A_WORD:
        noun = "piece" if dropped.sum() == 1 else "pieces"
        notes["warnings"].append(f"{dropped.sum()} loose {noun} of the surface dropped ({share:.1%} of its outline)")
    return _compact(vertices, faces[kept[piece]])


def _missed(vertices: np.ndarray, dropped: np.ndarray, kept: np.ndarray) -> float:
    """The share of the outline that is gone with the dropped faces, from the front, the side or above, whichever shows
    most."""
    if len(dropped) == 0:
        return 0.0
    px, flat = (vertices + 1) / 2 * OUTLINE_PX, np.zeros(len(vertices))
    shares = []
    for axes in ((0, 1), (2, 1), (0, 2)):
        seen, left = (cover(px[:, axes], flat, part, OUTLINE_PX, OUTLINE_PX)[0] >= 0 for part in (dropped, kept))
        shares.append(float((seen & ~left).sum() / (seen | left).sum()))
    return max(shares)


def _compact(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without vertices that no face uses; the order stays."""
    used, index = np.unique(faces, return_inverse=True)
    return vertices[used], index.reshape(faces.shape).astype(np.int64)


def _decimate(
    vertices: np.ndarray, faces: np.ndarray, target: int, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """At most `target` faces, else twice as many, still closed and of about the same volume; else the best of these."""
    if len(faces) <= target:
        return vertices, faces
    before = volume(vertices, faces)
    best, least = (vertices, faces), np.inf
    for goal, most in ((target, target), (int(0.95 * target), target), (2 * target, 2.1 * target)):
        for aggression in AGGRESSION:
            points, triangles = fast_simplification.simplify(
                vertices.astype(np.float32), faces.astype(np.int32), target_count=min(goal, len(faces)), agg=aggression
            )
            points, triangles = _mend(points.astype(np.float64), triangles.astype(np.int64))
            if not is_closed(triangles):
                continue
            change = abs(volume(points, triangles) / before - 1)
            if change < least and len(triangles) <= most:
                best, least = (points, triangles), change
            if least <= VOLUME_KEPT:
                break
        if least <= VOLUME_KEPT:
            break
    if least > VOLUME_KEPT:
        change = f"changed its volume by {least:.0%}" if np.isfinite(least) else "failed"
        warnings.append(f"simplifying the mesh {change}: the surface is very rough; ask for more faces")
    if len(best[1]) > target:
        warnings.append(f"{len(best[1])} faces kept: with {target} the shape would have changed too much")
    return _compact(*best)


def _mend(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Closed again after edge collapses. Collapsing keeps each edge's two directions in balance, so only two things
    happen: faces that fell together back to back, which cancel, and edges with four faces or more, where the second
    pair of faces gets its own edge through an own midpoint.
    """
    faces = _cancel(faces)
    if len(faces) == 0:
        return vertices, faces
    count = len(vertices)
    start, end = faces, np.roll(faces, -1, axis=1)
    key = np.minimum(start, end) * count + np.maximum(start, end)
    edge, uses = np.unique(key, return_counts=True)
    if (uses > 2).sum() > MANY:
        return vertices, faces
    rows, points = [tuple(face) for face in faces.tolist()], list(vertices)
    for low, high in (divmod(int(e), count) for e in edge[uses > 2]):
        touching = np.flatnonzero((key == low * count + high).any(1)).tolist()
        touching = [i for i in touching if low in rows[i] and high in rows[i]]  # an earlier split may have moved it
        forth = [i for i in touching if _follows(rows[i], low, high)]
        back = [i for i in touching if _follows(rows[i], high, low)]
        for one, other in list(zip(forth, back, strict=False))[1:]:
            middle = len(points)
            points.append((vertices[low] + vertices[high]) / 2)
            for index in (one, other):
                rows.append(tuple(middle if corner == low else corner for corner in rows[index]))
                rows[index] = tuple(middle if corner == high else corner for corner in rows[index])
                key = np.concatenate([key, key[index : index + 1]])
    return np.array(points), np.array(rows, np.int64)


def _follows(face: tuple[int, ...], first: int, second: int) -> bool:
    return face[(face.index(first) + 1) % 3] == second


def _cancel(faces: np.ndarray) -> np.ndarray:
    """Without faces that have collapsed, and without pairs on the same corners that look in opposite directions."""
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    if len(faces) == 0:
        return faces
    corners = np.sort(faces, axis=1)
    after_smallest = np.roll(faces, -1, axis=1)[np.arange(len(faces)), faces.argmin(1)]
    sign = np.where(after_smallest == corners[:, 1], 1, -1)
    _, group = np.unique(corners, axis=0, return_inverse=True)
    net = np.bincount(group.ravel(), sign)[group.ravel()]
    alike = np.flatnonzero(sign * net > 0)  # of those that look the way of the majority, the first stays
    _, first = np.unique(group.ravel()[alike], return_index=True)
    return faces[np.sort(alike[first])]
