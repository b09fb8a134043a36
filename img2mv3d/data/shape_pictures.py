"""One picture to learn shape from: what a photo of an object shows, and all that it does not.

In: parts of the corpus, random numbers. Out: a record of PICTURE: the photo without its flaws (`augment` adds them),
depths of front and back, normals, colours of the far side, the solid as columns along the line of sight.

Everything stands in the photo's own frame: x to the right, y up, z away from the camera, 0 in the middle of the box; a
camera at a finite distance is told by bending the object as an orthographic camera would have to see it, so that the
outline is the photo's in all cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int

from img2mv3d.conventions import IMAGE_SIZE, WORLD_WIDTH
from img2mv3d.data.mirrors import seen_shares
from img2mv3d.data.raycast import Raycaster
from img2mv3d.data.scene import EVEN_LIGHT, Light, brightness, face_normals, random_light, rgba_at, turned
from img2mv3d.data.variation import Part, repainted
from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.columns import BIN, BINS, COLUMNS, CROP, SIZE
from img2mv3d.geometry.symmetry import TURNS

LONG_SIDE_PX = (128, 152)  # of 256, of the outline
# Small things on a table are seen from well above, most others from a little: (lowest, commonest, highest).
PITCH_DEG, ROLL_DEG = (-15.0, 15.0, 50.0), (-5.0, 5.0)
DISTANCE = (2.5, 9.0)  # of the camera, in long sides of the object
ORTHOGRAPHIC_SHARE = 0.35
MOST_DEPTH = 1.65  # extent in depth over the outline's long side; deeper things would leave the six views
LEAST_PIXELS = 150  # of the outline
REPAINT_SHARE = 0.2
EVEN_SHARE = 0.3  # pictures that no light shades: what is learnt may not hang on shading alone
SMOOTH_SHARE = 0.6  # pictures shaded as if faces were bent, as scans are and low meshes are not

PICTURE = np.dtype(
    [
        ("id", "U96"),
        ("pitch_deg", "f4"),
        ("ratio", "f4"),  # extent in depth over the outline's long side
        ("long_side", "f4"),  # of the outline, world units
        ("mirror", "f2", (len(TURNS),)),  # share of the surface that meets its mirror image; 0: not known
        ("color", "u1", (SIZE, SIZE, 3)),  # straight, sRGB, black where nothing is
        ("mask", "u1", (SIZE, SIZE)),
        ("front", "f2", (SIZE, SIZE)),  # z, 0 outside
        ("back", "f2", (SIZE, SIZE)),
        ("normal", "i1", (SIZE, SIZE, 3)),  # world axes (x right, y up, towards the camera) times 127
        ("far", "u1", (COLUMNS, COLUMNS, 3)),  # colour of the far side, seen through the object
        ("solid", "u1", (COLUMNS, COLUMNS, BINS // 8)),  # bits, nearest bin first
    ]
)


@dataclass(frozen=True, eq=False)
class Placement:
    """Object units -> the photo's frame with z towards the camera: turned, moved, bent by the camera's distance, scaled
    to the outline's long side. distance: from the camera to the middle, in turned units; inf is orthographic."""

    rotation: Float[np.ndarray, "3 3"]
    centre: Float[np.ndarray, " 3"]
    distance: float
    middle: Float[np.ndarray, " 3"]
    scale: float

    def forward(self, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "P 3"]:
        """Where points of the object come to lie."""
        return (_bent(points @ self.rotation.T - self.centre, self.distance) - self.middle) * self.scale

    def backward(self, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "P 3"]:
        """Undo `forward`."""
        bent = points / self.scale + self.middle
        bent[:, :2] /= 1 / np.maximum(1 - bent[:, 2:] / self.distance, 0.05)
        return (bent + self.centre) @ self.rotation


def placed(
    vertices: Float[np.ndarray, "N 3"], rotation: Float[np.ndarray, "3 3"], long_side: float, distance: float = np.inf
) -> tuple[Placement, Float[np.ndarray, "N 3"]]:
    """How to place an object so that its outline's long side has `long_side` (world units), its box in the middle, and
    its vertices then. distance: of the camera, in long sides; inf: orthographic."""
    turned = vertices @ rotation.T
    centre = (turned.min(0) + turned.max(0)) / 2
    turned = turned - centre
    away = distance * max(np.ptp(turned[:, :2], axis=0).max(), 1e-6)
    bent = _bent(turned, away)
    middle = (bent.min(0) + bent.max(0)) / 2
    scale = long_side / max(np.ptp(bent[:, :2], axis=0).max(), 1e-6)
    return Placement(rotation, centre, away, middle, scale), (bent - middle) * scale


def turned_by(yaw_deg: float, pitch_deg: float, roll_deg: float = 0.0) -> Float[np.ndarray, "3 3"]:
    """`scene.turned`, by degrees."""
    return turned(*np.radians([yaw_deg, pitch_deg, roll_deg]))


def random_picture(name: str, parts: list[Part], rng: np.random.Generator) -> np.void:
    """A picture of the parts from anywhere. Raises NothingFoundError when the object is hardly to be seen or far deeper
    than it is wide."""
    yaw, pitch, roll = rng.uniform(0, 360), rng.triangular(*PITCH_DEG), rng.uniform(*ROLL_DEG)
    distance = np.inf if rng.random() < ORTHOGRAPHIC_SHARE else float(np.exp(rng.uniform(*np.log(DISTANCE))))
    long_side = rng.uniform(*LONG_SIDE_PX) * WORLD_WIDTH / IMAGE_SIZE
    light = EVEN_LIGHT if rng.random() < EVEN_SHARE else random_light(rng)
    return picture(name, parts, (yaw, pitch, roll), long_side, distance, light, rng)


def picture(
    name: str,
    parts: list[Part],
    yaw_pitch_roll: tuple[float, float, float],
    long_side: float,
    distance: float,
    light: Light,
    rng: np.random.Generator | None,
) -> np.void:
    """The record of PICTURE of one pose. rng: of repainting, smoothing and gloss; None: neither. Raises
    NothingFoundError."""
    placement, vertices = placed(
        np.concatenate([part.vertices() for part in parts]), turned_by(*yaw_pitch_roll), long_side, distance
    )
    ratio = float(np.ptp(vertices[:, 2]) / long_side)
    if ratio > MOST_DEPTH:
        raise NothingFoundError(f"{name}: {ratio:.1f} times as deep as its outline is long")
    scene = _Scene(parts, vertices, placement, light, rng)
    color, mask, front, normal = scene.seen(SIZE, 2, towards=-1.0)
    far, behind, back, _ = scene.seen(SIZE, 1, towards=1.0)
    covered = (mask >= 0.5) & (behind > 0)
    if covered.sum() < LEAST_PIXELS:
        raise NothingFoundError(f"{name}: hardly anything is to be seen")
    record = np.zeros((), PICTURE)
    record["id"], record["pitch_deg"], record["ratio"], record["long_side"] = name, yaw_pitch_roll[1], ratio, long_side
    if len(parts) == 1 and parts[0].mirror is not None:
        record["mirror"] = seen_shares(parts[0].mirror, yaw_pitch_roll[0])
    record["color"] = np.round(color * 255)
    record["mask"] = np.round(mask * 255 * (covered | (mask < 0.5)))
    record["front"] = front * covered
    record["back"] = np.maximum(back, front) * covered
    record["normal"] = np.round(normal * covered[..., None] * 127)
    cover = covered.reshape(COLUMNS, 2, COLUMNS, 2)
    share = np.maximum(cover.sum((1, 3)), 1)[..., None]
    record["far"] = np.round((far * covered[..., None]).reshape(COLUMNS, 2, COLUMNS, 2, 3).sum((1, 3)) / share * 255)
    record["solid"] = np.packbits(scene.columns(front, back, covered), axis=-1)
    return record[()]


class _Scene:
    """Parts in the photo's frame, to be looked at."""

    def __init__(
        self,
        parts: list[Part],
        vertices: np.ndarray,
        placement: Placement,
        light: Light,
        rng: np.random.Generator | None,
    ) -> None:
        self.parts, self.placement, self.light = parts, placement, light
        counts = np.cumsum([0, *(len(p.mesh.vertices) for p in parts)])
        faces = [p.mesh.faces.astype(np.int64) + first for p, first in zip(parts, counts, strict=False)]
        self.starts = np.cumsum([0, *(len(f) for f in faces)])
        self.vertices = vertices.astype(np.float32)
        self.faces = np.concatenate(faces)
        self.normals = face_normals(self.vertices, self.faces)
        self.world = Raycaster(self.vertices, self.faces)
        self.paint = repainted(rng) if rng is not None and rng.random() < REPAINT_SHARE else None
        self.smooth = float(rng.uniform(1.0, 3.5)) if rng is not None and rng.random() < SMOOTH_SHARE else 0.0
        self.shade = float(rng.uniform(0.2, 0.9)) if rng is not None else 0.5
        glossy = rng is not None and light is not EVEN_LIGHT and rng.random() < 0.5
        self.gloss = float(rng.exponential(0.08)) if glossy else 0.0
        self.hardness = float(np.exp(rng.uniform(1.5, 4))) if rng is not None else 10.0

    def seen(
        self, size: int, fine: int, towards: float
    ) -> tuple[
        Float32[np.ndarray, "S S 3"],
        Float32[np.ndarray, "S S"],
        Float32[np.ndarray, "S S"],
        Float32[np.ndarray, "S S 3"],
    ]:
        """(colour, covered share, z away from the camera, normal) through the picture's pixels: of the near side
        (towards -1) or of the far side (towards 1, still in the front camera's pixels); fine x fine rays a pixel."""
        rays = size * fine
        ticks = (np.arange(rays) + 0.5) * (2 * CROP / rays) - CROP
        origin = np.stack(np.broadcast_arrays(ticks[None, :], -ticks[:, None], -4.0 * towards), axis=-1).reshape(-1, 3)
        direction = np.broadcast_to(np.array([0.0, 0.0, towards]), origin.shape)
        low, high = self.vertices.min(0), self.vertices.max(0)
        inside = ((origin[:, :2] >= low[:2] - 1e-3) & (origin[:, :2] <= high[:2] + 1e-3)).all(1)
        hits = self.world.first(origin[inside], direction[inside])
        hit = np.zeros(len(origin), bool)
        hit[inside] = hits.face >= 0
        face, t = hits.face[hits.face >= 0], hits.t[hits.face >= 0]
        corner = np.stack([1 - hits.u - hits.v, hits.u, hits.v], axis=-1)[hits.face >= 0]
        samples = np.zeros((len(origin), 8), np.float32)
        normal = self.normals[face]
        normal = normal * np.where(normal[:, 2:] * towards > 0, -1, 1)
        samples[hit, :3] = self._albedo(face, corner)
        samples[hit, 3:6] = normal
        samples[hit, 6] = -(t - 4.0) if towards > 0 else t - 4.0
        samples[hit, 7] = 1
        return _resolved(self._lit(samples.reshape(rays, rays, 8), towards), fine, -towards)

    def columns(
        self, front: Float32[np.ndarray, "S S"], back: Float32[np.ndarray, "S S"], covered: np.ndarray
    ) -> np.ndarray:
        """The solid along the line of sight, bool [COLUMNS, COLUMNS, BINS]: what is carved, and the surfaces that the
        rays hit where carving left nothing, so that thin things are not lost."""
        step = 2 * CROP / COLUMNS
        across = (np.arange(COLUMNS) + 0.5) * step - CROP
        along = (np.arange(BINS) + 0.5) * BIN - BINS * BIN / 2
        grid = np.stack(np.broadcast_arrays(across[None, :, None], -across[:, None, None], -along), axis=-1)
        solid = np.zeros((COLUMNS, COLUMNS, BINS), bool)
        low, high = self.vertices.min(0) - step, self.vertices.max(0) + step
        near = ((grid >= low) & (grid <= high)).all(-1)
        points = self.placement.backward(grid[near].astype(np.float64))
        solid[near] = np.maximum.reduce([part.inside(points) for part in self.parts]) >= 0.5
        thick = solid.copy()
        thick[..., 1:] |= solid[..., :-1]
        thick[..., :-1] |= solid[..., 1:]
        for z in (front, back):
            row, column = np.nonzero(covered)
            place = np.clip(((z[row, column] + BINS * BIN / 2) / BIN).astype(int), 0, BINS - 1)
            count = np.zeros((COLUMNS, COLUMNS, BINS), np.int32)
            np.add.at(count, (row // 2, column // 2, place), 1)
            solid |= (count >= 2) & ~thick
        return solid

    def _albedo(self, face: Int[np.ndarray, " R"], corner: Float32[np.ndarray, "R 3"]) -> Float32[np.ndarray, "R 3"]:
        if self.paint is not None:
            points = np.einsum("rc,rcd->rd", corner, self.vertices[self.faces[face]]).astype(np.float64)
            return self.paint(self.placement.backward(points))
        color = np.zeros((len(face), 3), np.float32)
        for part, first, last in zip(self.parts, self.starts, self.starts[1:], strict=False):
            own = (face >= first) & (face < last)
            color[own] = rgba_at(part.mesh, face[own] - first, corner[own])[:, :3]
        return color

    def _lit(self, samples: Float32[np.ndarray, "R R 8"], towards: float) -> Float32[np.ndarray, "R R 8"]:
        """Colours times light; corners and hollows are darker, as far as the depth in the picture tells."""
        hit = samples[..., 7] > 0
        normal = samples[..., 3:6]
        if self.smooth:
            soft = cv2.GaussianBlur(normal, (0, 0), self.smooth)
            soft /= np.maximum(np.linalg.norm(soft, axis=-1, keepdims=True), 1e-6)
            normal = np.where((soft * normal).sum(-1, keepdims=True) > 0.75, soft, normal)
        z = -towards * samples[..., 6]
        weight = cv2.GaussianBlur(samples[..., 7], (0, 0), 6.0)
        around = cv2.GaussianBlur(z * samples[..., 7], (0, 0), 6.0) / np.maximum(weight, 1e-3)
        opened = 1 - self.shade * np.clip((z - around) * 6, 0, 0.8)
        bright = brightness(self.light, normal[hit], opened[hit].astype(np.float32))
        color = samples[hit, :3] * bright
        if self.gloss:
            key = np.asarray(self.light.key_direction) / max(np.linalg.norm(self.light.key_direction), 1e-6)
            half = key + np.array([0.0, 0.0, -towards])
            half /= max(np.linalg.norm(half), 1e-6)
            shine = self.gloss * np.clip(normal[hit] @ half, 0, 1) ** self.hardness * (4 + self.hardness) / 8
            color = color + shine[:, None].astype(np.float32)
        samples = samples.copy()
        samples[hit, :3] = np.clip(color, 0, 1)
        return samples


def _bent(points: Float[np.ndarray, "P 3"], distance: float) -> Float[np.ndarray, "P 3"]:
    """Points as a camera at `distance` in front of the origin sees them, z kept."""
    wide = 1 / np.maximum(1 - points[:, 2:] / distance, 0.05)
    return np.concatenate([points[:, :2] * wide, points[:, 2:]], axis=1)


def _resolved(
    samples: Float32[np.ndarray, "R R 8"], fine: int, order: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """fine x fine samples -> a pixel; depth and normal of the surface nearest to whoever looks (order 1: small z)."""
    parts = np.stack([samples[i::fine, j::fine] for i in range(fine) for j in range(fine)])
    hit = parts[..., 7] > 0
    count = np.maximum(hit.sum(0), 1)
    color = (parts[..., :3].sum(0) / count[..., None]).astype(np.float32)
    key = np.where(hit, order * parts[..., 6], np.inf)
    near = hit & (key <= key.min(0) + 0.03)
    uses = np.maximum(near.sum(0), 1)
    z = (parts[..., 6] * near).sum(0) / uses
    normal = (parts[..., 3:6] * near[..., None]).sum(0)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    return color, hit.mean(0, dtype=np.float32), z.astype(np.float32), normal.astype(np.float32)
