"""Whether a mesh is a body that can be printed: edges counted, walls measured with a sample of rays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from img2mv3d.mesh.arrays import MeshLike, face_normals
from img2mv3d.mesh.extract import volume

RAYS = 512
PAIRS = 20_000_000  # rays x triangles, at most: about two seconds
FEWEST_RAYS = 8
BLOCK = 400_000  # rays x triangles at a time
THIN_SHARE = 0.05  # of the surface; single rays near a sharp edge say little
WALL_MM = 0.8  # two lines of a common 0.4 mm nozzle
SLACK = 1e-9  # of a triangle's side: no ray slips through between two
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
    volume_mm3: None while it is not closed. box_mm: sides along x, y, z.
    wall_mm: below it lie 5 % of the sampled walls; thinnest_mm: the least of `rays` samples; None while not closed.
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
    volume_mm3: float | None
    box_mm: tuple[float, float, float]
    wall_mm: float | None
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
        share = f"{THIN_SHARE:.0%} of the sampled walls"
        return f"{share} are thinner than {self.wall_mm:.2g} mm, at least {WALL_MM} mm are needed: make it larger"

    def facts(self) -> dict[str, Any]:
        """Everything as plain values, also under the names of version 0.1.0."""
        plain = asdict(self)
        former = {name: plain[today] for name, today in FORMER.items()}
        return {**plain, **former, "watertight": self.watertight, "sound": self.sound, "faults": self.faults()}


def check(mesh: MeshLike, mm_per_unit: float = 1.0, rays: int = RAYS) -> Health:
    """The health of a mesh whose unit is so many millimetres. Vertices at one place count as one: files may split them
    for their texture.

    rays: how many walls are sampled; fewer on huge meshes.
    """
    vertices, faces = merged(mesh.vertices, mesh.faces)
    vertices = vertices * mm_per_unit
    flat, double = flat_faces(vertices, faces), double_faces(faces)
    whole = faces[~(faces[:, [0, 1, 2]] == faces[:, [1, 2, 0]]).any(1)]
    uses, twisted, _ = edges(whole)
    count, piece = pieces(whole)
    closed = not ((uses == 1).any() or (uses > 2).any())
    outward = closed and not twisted.any()
    walls = wall_samples(vertices, whole, rays) if outward else np.zeros(0)
    return Health(
        vertices=len(vertices),
        faces=len(faces),
        boundary_edges=int((uses == 1).sum()),
        nonmanifold_edges=int((uses > 2).sum()),
        inconsistent_edges=int(twisted.sum()),
        degenerate_faces=int(flat.sum()),
        duplicate_faces=int(double.sum()),
        components=count,
        inside_out=int(inside_out(vertices, whole, count, piece).sum()) if outward else 0,
        volume_mm3=float(f"{volume(vertices, whole):.6g}") if outward else None,
        box_mm=tuple(float(f"{side:.5g}") for side in np.ptp(vertices, axis=0)),
        wall_mm=float(f"{np.quantile(walls, THIN_SHARE):.4g}") if len(walls) else None,
        thinnest_mm=float(f"{walls.min():.4g}") if len(walls) else None,
        rays=len(walls),
        manifold3d=_second_opinion(vertices, whole),
    )


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
    part = np.einsum("fc,fc->f", vertices[faces[:, 0]], face_normals(vertices, faces))
    wrong = np.bincount(piece, part, minlength=count) < 0
    for number in np.flatnonzero(wrong):
        others = faces[(piece != number) & ~wrong[piece]]
        point = vertices[faces[piece == number][0, 0]]
        if len(others) and abs(winding(vertices, others, point)) > 0.5:
            wrong[number] = False
    return wrong


def winding(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], point: Float[np.ndarray, "3"]) -> float:
    """How often the surface goes round a point: 1 inside of a body, 0 outside (solid angle, Van Oosterom 1983)."""
    a, b, c = (vertices[faces[:, k]] - point for k in range(3))
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    dots = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return float(np.arctan2((a * np.cross(b, c)).sum(1), dots).sum() / (2 * np.pi))


def wall_samples(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], rays: int
) -> Float[np.ndarray, " S"]:
    """Thickness of the wall under points spread evenly over the surface: straight inwards to the next triangle, in the
    vertices' unit. The same points every time; a ray that finds nothing is left out.
    """
    normal = face_normals(vertices, faces)
    area = np.linalg.norm(normal, axis=1)
    count = int(np.clip(PAIRS // len(faces), FEWEST_RAYS, rays))
    rng = np.random.default_rng(0)
    face = np.searchsorted(np.cumsum(area), (np.arange(count) + 0.5) / count * area.sum()).clip(0, len(faces) - 1)
    u, v = rng.random((2, count))
    u, v = np.where(u + v > 1, [1 - u, 1 - v], [u, v])
    corner = vertices[faces[face]]
    origin = corner[:, 0] + u[:, None] * (corner[:, 1] - corner[:, 0]) + v[:, None] * (corner[:, 2] - corner[:, 0])
    direction = -normal[face] / area[face, None]
    step = max(1, BLOCK // len(faces))
    found = [_first_hit(vertices, faces, origin[i : i + step], direction[i : i + step]) for i in range(0, count, step)]
    distance = np.concatenate(found)
    return distance[np.isfinite(distance)]


def _first_hit(vertices: np.ndarray, faces: np.ndarray, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """[R] distances to the first triangle that is left from inside (Moeller and Trumbore 1997); inf: none."""
    a = vertices[faces[:, 0]]
    side, other = vertices[faces[:, 1]] - a, vertices[faces[:, 2]] - a
    p = np.cross(direction[:, None], other)
    det = np.einsum("rfc,fc->rf", p, side)  # negative where a ray leaves the body
    offset = origin[:, None] - a
    q = np.cross(offset, side)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.einsum("rfc,rfc->rf", offset, p) / det
        v = np.einsum("rfc,rc->rf", q, direction) / det
        t = np.einsum("rfc,fc->rf", q, other) / det
        hit = (det < 0) & (u >= -SLACK) & (v >= -SLACK) & (u + v <= 1 + SLACK)
    hit &= t > 1e-7 * float(np.ptp(vertices, axis=0).max())
    return np.where(hit, t, np.inf).min(1)


def _second_opinion(vertices: np.ndarray, faces: np.ndarray) -> str | None:
    try:
        import manifold3d
    except ImportError:
        return None
    body = manifold3d.Mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    return manifold3d.Manifold(body).status().name
