"""Whether a mesh is a body that can be printed: edges, shells and walls, and a verdict in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from img2mv3d.mesh.arrays import MeshLike, face_normals
from img2mv3d.mesh.extract import volume
from img2mv3d.mesh.walls import measure_walls

WALL_MM = 0.8  # two lines of a common 0.4 mm nozzle
PATCH_MM = 2 * WALL_MM  # what is thin over less, from its middle to its border, is an edge and no wall
PATCH_SHARE = 1 / 8  # of the longest side, where that is less
FORMER = {  # keys of version 0.1.0
    **{"open_edges": "boundary_edges", "crowded_edges": "nonmanifold_edges", "twisted_edges": "inconsistent_edges"},
    **{"flat": "degenerate_faces", "double": "duplicate_faces", "pieces": "components"},
}
FLAT = 1e-12  # of the squared extent: a triangle of less area has no direction


@dataclass(frozen=True)
class Health:
    """What was found.

    boundary_edges: of one face. nonmanifold_edges: of more than two. inconsistent_edges: of two with different sides.
    degenerate_faces: without area. duplicate_faces: on the same corners as another.
    components: connected ones (shells). inside_out: closed ones that look inwards and lie in no other.
    bodies: what the closed components make that are no hollows; those that overlap are one. hollows: closed spaces
        inside. Both None while it is not closed.
    volume_mm3: None while it is not closed. box_mm: sides along x, y, z.
    wall_mm: of the thinnest wall; wall_at_mm: the place, in the file's axes; wall_where: the same in words;
        thinnest_mm: the least of `rays` single samples, which may lie at a sharp edge; None while not closed.
    manifold3d: what that library says, None where it is not installed.
    """

    vertices: int
    faces: int
    boundary_edges: int
    nonmanifold_edges: int
    inconsistent_edges: int
    degenerate_faces: int
    duplicate_faces: int
    components: int
    inside_out: int
    bodies: int | None
    hollows: int | None
    volume_mm3: float | None
    box_mm: tuple[float, float, float]
    wall_mm: float | None
    wall_at_mm: tuple[float, float, float] | None
    wall_where: str | None
    thinnest_mm: float | None
    rays: int
    manifold3d: str | None

    @property
    def watertight(self) -> bool:
        """No boundary and no non-manifold edge."""
        return self.boundary_edges == 0 and self.nonmanifold_edges == 0

    @property
    def sound(self) -> bool:
        """A closed body with an inside and an outside."""
        return not self.faults()

    def faults(self) -> list[str]:
        """What is wrong, a sentence each; nothing when the mesh is sound."""
        words = {
            "boundary_edges": "boundary edges: it has holes",
            "nonmanifold_edges": "non-manifold edges: more than two faces meet there",
            "inconsistent_edges": "inconsistently oriented edges: their two faces point to different sides",
            "degenerate_faces": "faces are degenerate: they have no area",
            "duplicate_faces": "faces are duplicates of others",
            "inside_out": "closed components are inside out",
        }
        said = [f"{count} {text}" for name, text in words.items() if (count := getattr(self, name))]
        if not said and self.manifold3d not in (None, "NoError"):
            said.append(f"manifold3d says {self.manifold3d}")
        return said

    def thin(self) -> str | None:
        """A sentence when the walls are too thin to print at this size."""
        if self.wall_mm is None or self.wall_mm >= WALL_MM:
            return None
        side = max(self.box_mm) * WALL_MM / self.wall_mm
        return (
            f"its thinnest wall is {_millimetres(self.wall_mm)} mm, at least {WALL_MM} mm are needed: make it larger, "
            f"{np.ceil(side):.0f} mm along its longest side (the wall is {self.wall_where})"
        )

    def unprintable(self) -> list[str]:
        """Why it cannot be printed at this size, a sentence each; nothing when it can be."""
        said = self.faults()
        if self.bodies is not None and self.bodies > 1:
            said.append(f"{self.bodies} separate shells: they would come apart")
        return said + ([thin] if (thin := self.thin()) else [])

    def verdict(self) -> str:
        """Whether it prints at this size, in one line."""
        if reasons := self.unprintable():
            return f"does not print: {'; '.join(reasons)}"
        shells = self.components - (self.hollows or 0)
        body = "one shell" if shells == 1 else f"{shells} overlapping shells"
        hollow = f" with {self.hollows} closed hollow{'' if self.hollows == 1 else 's'}" if self.hollows else ""
        wall = "" if self.wall_mm is None else f", thinnest wall {_millimetres(self.wall_mm)} mm {self.wall_where}"
        return f"prints: closed, {body}{hollow}{wall}"

    def facts(self) -> dict[str, Any]:
        """Everything as plain values, also under the names of version 0.1.0."""
        plain = asdict(self)
        former = {name: plain[today] for name, today in FORMER.items()}
        told = {"watertight": self.watertight, "sound": self.sound, "faults": self.faults()}
        return {**plain, **former, **told, "prints": not self.unprintable(), "verdict": self.verdict()}


def check(mesh: MeshLike, mm_per_unit: float = 1.0, up: str = "Y") -> Health:
    """The health of a mesh whose unit is so many millimetres. Vertices at one place count as one: files may split them
    for their texture.

    up: Y or Z, the axis that points up, for places in words.
    """
    vertices, faces = merged(mesh.vertices, mesh.faces)
    vertices = vertices * mm_per_unit
    flat, double = flat_faces(vertices, faces), double_faces(faces)
    whole = faces[~(faces[:, [0, 1, 2]] == faces[:, [1, 2, 0]]).any(1)]
    uses, twisted, _ = edges(whole)
    count, piece = pieces(whole)
    closed = not ((uses == 1).any() or (uses > 2).any())
    outward = closed and not twisted.any()
    wrong = inside_out(vertices, whole, count, piece) if outward else np.zeros(count, bool)
    walls, hollows = None, 0
    if outward and not wrong.any():
        hollows = int((volumes(vertices, whole, count, piece) < 0).sum())
        patch = min(PATCH_MM, PATCH_SHARE * float(np.ptp(vertices, axis=0).max()))
        walls = measure_walls(vertices, whole, piece, patch)
    thick = walls is not None and np.isfinite(walls.thinnest)
    return Health(
        vertices=len(vertices),
        faces=len(faces),
        boundary_edges=int((uses == 1).sum()),
        nonmanifold_edges=int((uses > 2).sum()),
        inconsistent_edges=int(twisted.sum()),
        degenerate_faces=int(flat.sum()),
        duplicate_faces=int(double.sum()),
        components=count,
        inside_out=int(wrong.sum()),
        bodies=walls.bodies if walls else None,
        hollows=hollows if walls else None,
        volume_mm3=float(f"{volume(vertices, whole):.6g}") if outward else None,
        box_mm=tuple(float(f"{side:.5g}") for side in np.ptp(vertices, axis=0)),
        wall_mm=float(f"{walls.thinnest:.4g}") if walls and thick else None,
        wall_at_mm=tuple(float(f"{x:.4g}") for x in walls.place) if walls and thick else None,
        wall_where=where(walls.place, vertices, up) if walls and thick else None,
        thinnest_mm=float(f"{walls.least:.4g}") if walls and np.isfinite(walls.least) else None,
        rays=walls.rays if walls else 0,
        manifold3d=_second_opinion(vertices, whole),
    )


def where(place: Float[np.ndarray, "3"], vertices: Float[np.ndarray, "N 3"], up: str = "Y") -> str:
    """A place on a body in words and numbers, as somebody sees it who stands in front of it.

    >>> corners = np.array([[-10.0, 0, -10], [10, 30, 10]])
    >>> where(np.array([-9.0, 29, 0]), corners)
    'at the top, left (x -9.0, y 29.0, z 0.0 mm)'
    """
    low, high = vertices.min(0), vertices.max(0)
    share = (place - low) / np.maximum(high - low, 1e-300)
    tall, deep = (share[1], share[2]) if up == "Y" else (share[2], 1 - share[1])  # the front looks to +Z, or to -Y
    sides = ((tall, ("bottom", "top")), (share[0], ("left", "right")), (deep, ("back", "front")))
    words = [names[int(at > 0.5)] for at, names in sides if abs(at - 0.5) > 1 / 6]
    x, y, z = place
    return f"at the {', '.join(words) or 'middle'} (x {x:.1f}, y {y:.1f}, z {z:.1f} mm)"


def merged(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]
) -> tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, "F 3"]]:
    """The same triangles on vertices of which no two are at one place, and none is unused."""
    places, index = np.unique(vertices[faces.ravel()] + 0.0, axis=0, return_inverse=True)  # + 0.0: no negative zero
    return places, index.reshape(faces.shape).astype(np.int64)


def flat_faces(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Bool[np.ndarray, " F"]:
    """Which triangles have no area worth the name."""
    area = np.linalg.norm(face_normals(vertices, faces), axis=1)
    return area <= FLAT * max(float(np.ptp(vertices, axis=0).max()), 1e-300) ** 2


def double_faces(faces: Int[np.ndarray, "F 3"]) -> Bool[np.ndarray, " F"]:
    """Which triangles lie on the corners of an earlier one, whichever way they look."""
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    result = np.ones(len(faces), bool)
    result[first] = False
    return result


def edges(
    faces: Int[np.ndarray, "F 3"],
) -> tuple[Int[np.ndarray, " E"], Bool[np.ndarray, " E"], Int[np.ndarray, "F 3"]]:
    """(how many triangles use each edge, which of those used twice are twisted, the edge of each triangle's side)."""
    start, end = faces, np.roll(faces, -1, axis=1)
    count = int(faces.max()) + 1
    key = np.minimum(start, end) * count + np.maximum(start, end)
    _, index, uses = np.unique(key.ravel(), return_inverse=True, return_counts=True)
    balance = np.bincount(index, np.where(start < end, 1, -1).ravel(), minlength=len(uses))
    return uses, (uses == 2) & (balance != 0), index.reshape(faces.shape)


def pieces(faces: Int[np.ndarray, "F 3"]) -> tuple[int, Int[np.ndarray, " F"]]:
    """(count, piece of each triangle): what hangs together by edges."""
    uses, _, index = edges(faces)
    face = np.repeat(np.arange(len(faces)), 3)
    size = len(faces) + len(uses)
    graph = coo_matrix((np.ones(len(face), bool), (face, len(faces) + index.ravel())), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    _, piece = np.unique(label[: len(faces)], return_inverse=True)
    return int(piece.max()) + 1, piece


def inside_out(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], count: int, piece: Int[np.ndarray, " F"]
) -> Bool[np.ndarray, " P"]:
    """Which of `count` closed pieces look inwards though they lie in no other piece (then they would be hollows)."""
    wrong = volumes(vertices, faces, count, piece) < 0
    for number in np.flatnonzero(wrong):
        others = faces[(piece != number) & ~wrong[piece]]
        point = vertices[faces[piece == number][0, 0]]
        if len(others) and abs(winding(vertices, others, point)) > 0.5:
            wrong[number] = False
    return wrong


def volumes(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], count: int, piece: Int[np.ndarray, " F"]
) -> Float[np.ndarray, " P"]:
    """Signed volume of each piece; negative where its faces look inwards."""
    part = np.einsum("fc,fc->f", vertices[faces[:, 0]], face_normals(vertices, faces))
    return np.bincount(piece, part, minlength=count) / 6


def winding(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], point: Float[np.ndarray, "3"]) -> float:
    """How often the surface goes round a point: 1 inside of a body, 0 outside (solid angle, Van Oosterom 1983)."""
    a, b, c = (vertices[faces[:, k]] - point for k in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    dots = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return float(np.arctan2((a * np.cross(b, c)).sum(1), dots).sum() / (2 * np.pi))


def _millimetres(length: float) -> str:
    """Two digits, and no exponent."""
    return np.format_float_positional(length, precision=2, unique=False, fractional=False, trim="-")


def _second_opinion(vertices: np.ndarray, faces: np.ndarray) -> str | None:
    try:
        import manifold3d
    except ImportError:
        return None
    body = manifold3d.Mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    return manifold3d.Manifold(body).status().name
