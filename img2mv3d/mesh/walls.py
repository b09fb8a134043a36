"""How thick a closed body's walls are: a ray inwards from every part of its surface, and the thinnest place that is
wide enough to be a wall."""

from __future__ import annotations

from typing import NamedTuple

import fast_simplification
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from img2mv3d.geometry.compiled import compiled
from img2mv3d.mesh.arrays import face_normals

FINE = 45  # samples along the body's longest side, at least: larger triangles are split
MOST = 200_000  # triangles that are looked at: of more a simplified copy is
ROUNDS = 8  # of splitting edges in two
INNER = np.array(
    [0.29, 0.34, 0.37]
)  # where a triangle's ray starts: off its lines of symmetry, so that it meets no edge
CELLS = 1.5  # of the grid along the longest side, for each triangle that would lie there
ALIKE = 0.005  # relative difference of thicknesses that count as one
HITS = 64  # along a ray, at most
SLACK = 1e-9  # of a triangle's side: no ray slips through between two
NEAR = 1e-7  # of the body's longest side: the ray's own triangle


class Walls(NamedTuple):
    """thinnest: the least thickness that a patch of the surface shares whose middle lies `width` from its border; inf
        where there is none.
    place: float64 [3], in the wall, under that patch's middle.
    least: of the single rays.
    rays: how many there were.
    bodies: how many the closed pieces make that look outwards; those that overlap are one.
    """

    thinnest: float
    place: np.ndarray
    least: float
    rays: int
    bodies: int


def measure_walls(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], piece: Int[np.ndarray, " F"], width: float
) -> Walls:
    """The walls of a closed mesh whose faces look outwards, in its own unit. A knife's edge is no wall: rays there are
    short, but not over a width.

    piece: of each face, from 0 on.
    width: of a patch that counts as a wall, half of it; at least a sample's.
    """
    extent = float(np.ptp(vertices, axis=0).max())
    outer = np.bincount(piece, _signed(vertices, faces)) > 0
    if len(faces) > MOST:
        vertices, faces = fast_simplification.simplify(
            vertices.astype(np.float32), faces.astype(np.int32), target_count=MOST
        )
        vertices, faces = vertices.astype(np.float64), faces.astype(np.int64)
        piece = np.zeros(len(faces), np.int64)  # which was which is lost: overlaps are looked for in smaller ones
    vertices, faces, piece = refined(vertices, faces, piece, extent / FINE)
    thickness, inside, inwards = _thickness(vertices, faces, piece, len(outer), extent)
    touching = coo_matrix((np.ones(len(inside), bool), (inside[:, 0], inside[:, 1])), shape=(len(outer),) * 2)
    _, body = connected_components(touching, directed=False)
    middle = vertices[faces].mean(1)
    thinnest, face = _thinnest(middle, _neighbours(faces), thickness, max(width, extent / FINE))
    place = middle[face] + inwards[face] * np.nan_to_num(thickness[face], posinf=0.0) / 2
    known = thickness[np.isfinite(thickness)]
    least = float(known.min()) if len(known) else np.inf
    return Walls(thinnest, place, least, len(known), len(np.unique(body[outer])))


def refined(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], piece: Int[np.ndarray, " F"], longest: float
) -> tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, "G 3"], Int[np.ndarray, " G"]]:
    """The same surface with edges that are longer than `longest` split in the middle, on both their sides alike; as
    long as there are fewer than `MOST` faces."""
    for _ in range(ROUNDS):
        start, end = faces, np.roll(faces, -1, axis=1)
        key = np.minimum(start, end) * len(vertices) + np.maximum(start, end)
        long = np.linalg.norm(vertices[start] - vertices[end], axis=2) > longest
        if not long.any() or len(faces) + long.sum() > MOST:
            break
        split, index = np.unique(key[long], return_inverse=True)
        middle = np.full(faces.shape, -1)  # of the edge from corner k to the next
        middle[long] = len(vertices) + index
        low, high = np.divmod(split, len(vertices))
        vertices = np.concatenate([vertices, (vertices[low] + vertices[high]) / 2])
        turn = np.argmax(long, axis=1)  # split edges first, so that four patterns are all there are
        two = long.sum(1) == 2
        turn = np.where(two, (np.argmin(long, axis=1) + 1) % 3, turn)
        order = (np.arange(3) + turn[:, None]) % 3
        (a, b, c), (ab, bc, ca) = (np.take_along_axis(t, order, axis=1).T for t in (faces, middle))
        count = long.sum(1)
        parts, owner = [], []
        for number, corners in (
            (0, ((a, b, c),)),
            (1, ((a, ab, c), (ab, b, c))),
            (2, ((a, ab, c), (ab, bc, c), (ab, b, bc))),
            (3, ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))),
        ):
            some = np.flatnonzero(count == number)
            parts += [np.stack([corner[some] for corner in triangle], axis=1) for triangle in corners]
            owner += [some] * len(corners)
        faces, piece = np.concatenate(parts), piece[np.concatenate(owner)]
    return vertices, faces, piece


def _signed(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F] parts of the volume, times six."""
    return np.einsum("fc,fc->f", vertices[faces[:, 0]], face_normals(vertices, faces))


def _thickness(
    vertices: np.ndarray, faces: np.ndarray, piece: np.ndarray, count: int, extent: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """([F] length of a ray inwards from each face until it is outside of everything; inf where it finds no end or
    begins inside of another body; int64 [K, 2] pairs of pieces of which the first reaches into the second; [F, 3]
    the rays' directions)."""
    normal = face_normals(vertices, faces)
    area = np.linalg.norm(normal, axis=1)
    inwards = -normal / np.maximum(area, 1e-300)[:, None]
    origin = np.einsum("k,fkc->fc", INNER, vertices[faces])
    low = vertices.min(0) - 1e-6 * extent
    cell = extent * 1.00001 / min(max(int(CELLS * np.sqrt(len(faces) / 6)), 4), 128)
    shape = np.ceil((vertices.max(0) + 1e-6 * extent - low) / cell).astype(np.int64).clip(1, None)
    box = vertices[faces]
    first = ((box.min(1) - low) / cell - 1e-6).astype(np.int64).clip(0, shape - 1)
    last = ((box.max(1) - low) / cell + 1e-6).astype(np.int64).clip(0, shape - 1)
    start, items = _binned(first, last, shape)
    thickness, within = _rays(
        vertices, faces, piece, count, origin, inwards, start, items, low, cell, shape, NEAR * extent
    )
    thickness[area == 0] = np.inf
    pairs = np.stack([piece, within], axis=1)[within >= 0]
    return thickness, np.unique(pairs, axis=0), inwards


def _neighbours(faces: np.ndarray) -> np.ndarray:
    """int64 [2, E]: pairs of faces that share an edge."""
    start, end = faces, np.roll(faces, -1, axis=1)
    key = (np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)).ravel()
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    return np.stack([order[same] // 3, order[same + 1] // 3])


def _thinnest(middle: np.ndarray, pairs: np.ndarray, thickness: np.ndarray, width: float) -> tuple[float, int]:
    """(thickness, face): the least level below which a patch lies with a face that is `width` away from all others."""
    one, two = pairs
    apart = np.linalg.norm(middle[one] - middle[two], axis=1) + 1e-300

    def deepest(level: float, limit: float) -> tuple[float, int]:
        """(distance to all that is thicker, up to a limit; face) of the innermost face that is at most so thick."""
        thin = thickness <= level
        chosen = np.flatnonzero(thin)
        number = np.where(thin, np.cumsum(thin) - 1, len(chosen))  # all others are one node
        used = thin[one] | thin[two]
        ends = np.sort([number[one[used]], number[two[used]]], axis=0)
        by = np.lexsort((apart[used], *ends))
        fresh = np.append(True, (np.diff(ends[:, by]) != 0).any(0))  # of several ways between two nodes the nearest
        size = len(chosen) + 1
        graph = coo_matrix((apart[used][by[fresh]], tuple(ends[:, by[fresh]])), shape=(size, size)).tocsr()
        depth = dijkstra(graph, directed=False, indices=len(chosen), limit=limit)[:-1]
        best = int(depth.argmax())
        return float(depth[best]), int(chosen[best])

    known = np.sort(thickness[np.isfinite(thickness)])
    bucket = np.floor(np.log(known) / ALIKE)
    levels = known[np.append(bucket[1:] != bucket[:-1], True)] if len(known) else known  # the largest of each bucket
    low, high, step = -1, 0, 1  # places of levels without and with such a patch
    while high < len(levels) and deepest(levels[high], width)[0] < width:
        low, high, step = high, high + step, 2 * step
    high = min(high, len(levels))
    while high - low > 1:
        between = (low + high) // 2
        if deepest(levels[between], width)[0] < width:
            low = between
        else:
            high = between
    if high == len(levels):
        return np.inf, 0
    return float(levels[high]), deepest(levels[high], np.inf)[1]


@compiled
def _binned(first, last, shape):
    """Which triangles have their box in each cell of a grid: (start [cells + 1], items), cell by cell."""
    cells = shape[0] * shape[1] * shape[2]
    start = np.zeros(cells + 1, np.int64)
    for fill in range(2):
        if fill == 1:
            for i in range(cells):
                start[i + 1] += start[i]
            items = np.empty(start[cells], np.int64)
            at = start[:cells].copy()
        for f in range(len(first)):
            for x in range(first[f, 0], last[f, 0] + 1):
                for y in range(first[f, 1], last[f, 1] + 1):
                    for z in range(first[f, 2], last[f, 2] + 1):
                        i = (x * shape[1] + y) * shape[2] + z
                        if fill == 0:
                            start[i + 1] += 1
                        else:
                            items[at[i]] = f
                            at[i] += 1
    return start, items


@compiled
def _rays(vertices, faces, piece, count, origin, inwards, start, items, low, cell, shape, near):
    """(length of each ray inwards [R], a piece in which the place outside of it lies [R], -1 for none)."""
    length = np.full(len(origin), np.inf)
    within = np.full(len(origin), -1, np.int64)
    distance, sign, owner = np.empty(HITS), np.empty(HITS, np.int64), np.empty(HITS, np.int64)
    balance = np.zeros(count, np.int64)
    for r in range(len(origin)):
        hits = _crossings(
            vertices, faces, piece, origin[r], -inwards[r], start, items, low, cell, shape, near, distance, sign, owner
        )
        total = 0
        for h in range(hits):
            total -= sign[h]
            balance[owner[h]] -= sign[h]
        for h in range(hits):
            if total > 0 and balance[owner[h]] > 0 and owner[h] != piece[r]:
                within[r] = owner[h]
        for h in range(hits):
            balance[owner[h]] = 0
        if total > 0:
            continue
        hits = _crossings(
            vertices, faces, piece, origin[r], inwards[r], start, items, low, cell, shape, near, distance, sign, owner
        )
        depth = 1
        for h in range(hits):
            depth += sign[h]
            if depth <= 0:
                length[r] = distance[h]
                break
    return length, within


@compiled
def _crossings(vertices, faces, piece, origin, direction, start, items, low, cell, shape, near, distance, sign, owner):
    """Where a ray crosses triangles, in order (Moeller and Trumbore 1997, over cells as Amanatides and Woo 1987 walk
    them): how many; fills distance, sign (1 in, -1 out) and owner (the piece)."""
    at = np.empty(3, np.int64)
    step = np.empty(3, np.int64)
    border, pace = np.empty(3), np.empty(3)
    for k in range(3):
        at[k] = min(max(int((origin[k] - low[k]) / cell), 0), shape[k] - 1)
        if direction[k] == 0:
            step[k], border[k], pace[k] = 0, np.inf, np.inf
        else:
            step[k] = 1 if direction[k] > 0 else -1
            edge = low[k] + (at[k] + (1 if direction[k] > 0 else 0)) * cell
            border[k], pace[k] = (edge - origin[k]) / direction[k], cell / abs(direction[k])
    count, entered = 0, -np.inf
    while True:
        axis = 0
        if border[1] < border[axis]:
            axis = 1
        if border[2] < border[axis]:
            axis = 2
        leaves = border[axis]
        begun = count
        i = (at[0] * shape[1] + at[1]) * shape[2] + at[2]
        for item in range(start[i], start[i + 1]):
            f = items[item]
            a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
            sx, sy, sz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
            ox, oy, oz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
            px = direction[1] * oz - direction[2] * oy
            py = direction[2] * ox - direction[0] * oz
            pz = direction[0] * oy - direction[1] * ox
            det = px * sx + py * sy + pz * sz
            if det == 0:
                continue
            tx, ty, tz = origin[0] - a[0], origin[1] - a[1], origin[2] - a[2]
            u = (tx * px + ty * py + tz * pz) / det
            if u < -SLACK or u > 1 + SLACK:
                continue
            qx, qy, qz = ty * sz - tz * sy, tz * sx - tx * sz, tx * sy - ty * sx
            v = (qx * direction[0] + qy * direction[1] + qz * direction[2]) / det
            if v < -SLACK or u + v > 1 + SLACK:
                continue
            t = (qx * ox + qy * oy + qz * oz) / det
            # each crossing counts in one cell alone, though its triangle may lie in several
            if t <= near or t <= entered or t > leaves or count == HITS:
                continue
            place = count
            while place > begun and distance[place - 1] > t:
                distance[place], sign[place], owner[place] = distance[place - 1], sign[place - 1], owner[place - 1]
                place -= 1
            distance[place], sign[place], owner[place] = t, 1 if det > 0 else -1, piece[f]
            count += 1
        at[axis] += step[axis]
        if step[axis] == 0 or at[axis] < 0 or at[axis] >= shape[axis]:
            return count
        entered = leaves
        border[axis] += pace[axis]
