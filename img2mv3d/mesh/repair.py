"""A mesh with holes and loose ends -> a closed body, as far as that can be done without guessing a shape."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from img2mv3d.mesh.arrays import MeshArrays, MeshLike
from img2mv3d.mesh.extract import SMALLEST_PIECE
from img2mv3d.mesh.health import double_faces, edges, flat_faces, inside_out, merged, pieces

ROUNDS = 4  # taking sheets away opens holes, closing holes may make new sheets


class Repair(NamedTuple):
    """mesh: the repaired one, with colours at its vertices and no texture. done: sentences; none: nothing was wrong."""

    mesh: MeshArrays
    done: tuple[str, ...]


def repair(mesh: MeshLike) -> Repair:
    """Remove degenerate faces, duplicates and sheets on non-manifold edges, orient all alike, close every hole with a
    fan about its middle, and turn components that are inside out. Units and place stay.
    """
    vertices, faces = merged(mesh.vertices, mesh.faces)
    colors = _colors_of(mesh, vertices, faces)
    done: dict[str, int] = {}

    def note(what: str, count: int) -> None:
        if count:
            done[what] = done.get(what, 0) + count

    for _ in range(ROUNDS):
        before = len(faces)
        faces = faces[~flat_faces(vertices, faces)]
        note("degenerate faces removed", before - len(faces))
        doubles = double_faces(faces) if len(faces) else np.zeros(0, bool)
        faces = faces[~doubles]
        note("duplicate faces removed", int(doubles.sum()))
        if len(faces) == 0:
            break
        uses, _, index = edges(faces)
        nonmanifold = (uses > 2)[index].any(1)
        note("faces on non-manifold edges removed", int(nonmanifold.sum()))
        faces = faces[~nonmanifold]
        if len(faces) == 0:
            break
        faces, turned = oriented(faces)
        note("faces reoriented", turned)
        loose = shards(faces)
        note("faces of loose shards removed", int(loose.sum()))
        faces = faces[~loose]
        loops = holes(faces)
        note("holes closed", len(loops))
        for loop in loops:
            if len(loop) == 3:
                faces = np.concatenate([faces, [loop[::-1]]])
                continue
            middle = len(vertices)
            vertices = np.concatenate([vertices, vertices[loop].mean(0, keepdims=True)])
            colors = np.concatenate([colors, (colors[loop].mean(0, keepdims=True) + 0.5).astype(np.uint8)])
            fan = [(after, here, middle) for here, after in zip(loop, np.roll(loop, -1), strict=True)]
            faces = np.concatenate([faces, np.array(fan, np.int64)])
        uses, twisted, _ = edges(faces)
        if (uses == 2).all() and not twisted.any():
            count, piece = pieces(faces)
            wrong = inside_out(vertices, faces, count, piece)
            faces = np.where(wrong[piece][:, None], faces[:, ::-1], faces)
            note("components turned inside out", int(wrong.sum()))
            if not flat_faces(vertices, faces).any():
                break
    used, index = np.unique(faces, return_inverse=True)
    result = MeshArrays(vertices[used], index.reshape(-1, 3).astype(np.int64), colors[used])
    return Repair(result, tuple(_counted(count, what) for what, count in done.items()))


def _counted(count: int, what: str) -> str:
    """`1 hole closed`, `2 holes closed`."""
    if count == 1:
        what = what.replace("faces", "face").replace("holes", "hole").replace("components", "component")
    return f"{count} {what}"


def oriented(faces: Int[np.ndarray, "F 3"]) -> tuple[Int[np.ndarray, "F 3"], int]:
    """(triangles that look the same way as their neighbours, as the majority of their piece does; how many were
    turned). On a Moebius strip some edge stays twisted.
    """
    uses, twisted, index = edges(faces)
    if not twisted.any():
        return faces, 0
    side = np.argsort(index.ravel(), kind="stable")
    shared = side[np.isin(index.ravel()[side], np.flatnonzero(uses == 2))].reshape(-1, 2)
    one, two = shared[:, 0] // 3, shared[:, 1] // 3
    differs = twisted[index.ravel()[shared[:, 0]]]
    relation = dict(zip(zip(one.tolist(), two.tolist(), strict=True), differs.tolist(), strict=True))
    graph = coo_matrix((np.ones(len(one)), (one, two)), shape=(len(faces),) * 2).tocsr()
    _, label = connected_components(graph, directed=False)
    flip = np.zeros(len(faces), bool)
    roots = np.unique(label, return_index=True)[1]
    for number in np.unique(label[one[differs]]):
        order, parent = breadth_first_order(graph, roots[number], directed=False)
        for face in order[1:].tolist():
            above = int(parent[face])
            flip[face] = flip[above] ^ relation.get((above, face), relation.get((face, above), False))
        if flip[order].sum() * 2 > len(order):
            flip[order] = ~flip[order]
    return np.where(flip[:, None], faces[:, ::-1], faces), int(flip.sum())


def shards(faces: Int[np.ndarray, "F 3"]) -> Bool[np.ndarray, " F"]:
    """Which triangles belong to pieces that are open and less than a hundredth of the largest, or than a tetrahedron:
    closing them would make crumbs. The largest stays in any case.
    """
    uses, _, index = edges(faces)
    count, piece = pieces(faces)
    size = np.bincount(piece, minlength=count)
    is_open = np.bincount(piece, (uses == 1)[index].any(1), minlength=count) > 0
    small = (size < np.maximum(SMALLEST_PIECE * size.max(), 4)) & (np.arange(count) != size.argmax())
    return (is_open & small)[piece]


def holes(faces: Int[np.ndarray, "F 3"]) -> list[Int[np.ndarray, " L"]]:
    """The rims of all holes, as loops of vertices [L] in the direction in which their triangles run along them. A rim
    that meets itself is cut into loops where it does; what does not close is left out.
    """
    uses, _, index = edges(faces)
    rim = (uses == 1)[index]
    follow: dict[int, list[int]] = {}
    for start, end in zip(faces[rim].tolist(), np.roll(faces, -1, axis=1)[rim].tolist(), strict=True):
        follow.setdefault(start, []).append(end)
    found = []
    while follow:
        path = [next(iter(follow))]
        place = {path[0]: 0}
        while path[-1] in follow:
            here = path[-1]
            after = follow[here].pop()
            if not follow[here]:
                del follow[here]
            if after not in place:
                place[after] = len(path)
                path.append(after)
                continue
            loop = path[place[after] :]
            path = path[: place[after] + 1]
            for vertex in loop[1:]:
                del place[vertex]
            if len(loop) >= 3:
                found.append(np.array(loop, np.int64))
    return found


def _colors_of(mesh: MeshLike, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Colours of the merged vertices, each that of one of those that were put together."""
    colors = np.zeros((len(vertices), 3), np.uint8)
    colors[faces.ravel()] = mesh.colors[mesh.faces.ravel()]
    return colors
