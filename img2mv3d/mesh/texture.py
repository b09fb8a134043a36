"""Pictures -> the mesh's colours: a texture, colours of vertices, and an account of who saw what."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve

from img2mv3d.mesh.arrays import MeshArrays, face_normals, vertex_normals
from img2mv3d.mesh.grain import Grain
from img2mv3d.mesh.sources import Source, TextureSource
from img2mv3d.mesh.unwrap import Chart, unwrap

SHARPNESS = 4  # power of the weights in the high band: nearly one picture only, or details would show twice
UNSEEN = 0.01  # sum of weights below which a point counts as seen by none
MAX_SHIFT = 0.12  # largest colour correction of a picture, per channel
ANCHOR = 0.02  # share of the overlaps' weight that holds the correction at 0
PHOTOGRAPHED = 0.3  # sum of the photos' weights at which half of the grain is theirs
BLOCK = 1 << 18  # texels painted together


class Painting(NamedTuple):
    """mesh: `MeshArrays`; with a texture its vertices are doubled along seams.
    shares: of the surface's area seen by the photo, by views only, by none (they add up to 1).
    shifts: the corrections, float64 [S, 3].
    coverage: share of the texture's texels that charts use (0 without texture).
    by_photo: float64 [N], the photo's share in the colour of each vertex as it was given, 0 where nobody sees it.
    chart: how the mesh was unwrapped; None without texture.
    """

    mesh: MeshArrays
    shares: dict[str, float]
    shifts: np.ndarray
    coverage: float
    by_photo: np.ndarray
    chart: Chart | None = None


def paint(
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    sources: list[Source],
    *,
    texture_size: int,
    grain: Grain | None = None,
) -> Painting:
    """The mesh (world units, closed or not) coloured by `sources`;

    Each point takes its colour from the pictures that see it: weight = priority * cos^2 * distance to rims; the low
    band is their mean, the high band nearly the best one's alone; before that each picture is shifted by a constant
    colour so that overlaps agree (the photo stands still). What nobody sees is filled by diffusion over the mesh.

    texture_size: px a side, 0 for vertex colours (which a texture too small for its charts becomes, too).
    grain: of the photo, laid on what no photo shows.
    """
    area = np.linalg.norm(face_normals(vertices, faces), axis=1) / 2
    chart = unwrap(vertices, faces, texture_size) if texture_size else None
    if chart is not None and chart.density == 0:  # more charts than so small a texture has room for
        chart = None
    density = 128.0 if chart is None else max(chart.density, 1.0)
    palette = palette_of(vertices, faces, sources, density, sharp=chart is not None)
    shares = _shares(faces, area, palette.total, palette.photo)
    colors = _to_bytes(palette.filled)
    if chart is None:
        mesh = MeshArrays(vertices.astype(np.float64), faces.astype(np.int64), colors)
        return Painting(mesh, shares, palette.shifts, 0.0, palette.by_photo)
    texture = _bake(chart, vertices, palette, grain)
    mesh = MeshArrays(
        vertices[chart.original].astype(np.float64), chart.faces, colors[chart.original], chart.uv, texture
    )
    return Painting(mesh, shares, palette.shifts, float((chart.face >= 0).mean()), palette.by_photo, chart)


class Palette(NamedTuple):
    """Pictures made ready for one mesh.

    ready: the pictures. shifts: the corrections, [S, 3].
    normals, filled: [N, 3] of the vertices, and their colours.
    total, photo: [N], sums of weights at the vertices, of all and of the photos.
    """

    ready: list[TextureSource]
    shifts: np.ndarray
    normals: np.ndarray
    filled: np.ndarray
    total: np.ndarray
    photo: np.ndarray

    @property
    def by_photo(self) -> Float[np.ndarray, " N"]:
        """The photo's share in the colour of each vertex, 0 where nobody sees it."""
        return np.where(self.total > UNSEEN, self.photo / np.maximum(self.total, UNSEEN), 0.0)

    def at(
        self,
        vertices: Float[np.ndarray, "N 3"],
        corner: Int[np.ndarray, "P 3"],
        weight: Float[np.ndarray, "P 3"],
        grain: Grain | None = None,
    ) -> Float32[np.ndarray, "P 3"]:
        """Colours, not clipped, of points of faces with these corners, weighted by the corners' shares."""
        image = np.zeros((len(corner), 3), np.float32)
        for start in range(0, len(corner), BLOCK):
            part = slice(start, start + BLOCK)
            point, normal, fill = (
                np.einsum("pk,pkc->pc", weight[part], values[corner[part]])
                for values in (vertices, self.normals, self.filled)
            )
            normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
            projections = [one.project(point, normal) for one in self.ready]
            image[part], _ = _mix(len(point), projections, self.shifts, fill)
            if grain is not None:
                photographed = np.zeros(len(point), np.float32)
                for projection, one in zip(projections, self.ready, strict=True):
                    if one.source.shown:
                        photographed[projection.index] += projection.weight
                unseen = 1 / (1 + photographed / PHOTOGRAPHED)
                image[part] += (unseen * grain.at(point, normal))[:, None]
        return image


def palette_of(
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    sources: list[Source],
    density: float,
    sharp: bool = True,
) -> Palette:
    """The sources, levelled with each other on the mesh's vertices.

    density: samples per world unit that will be asked for. sharp: whether any will; else the vertices' are all.
    """
    normals = vertex_normals(vertices, faces)
    coarse = [TextureSource(s, vertices, faces, min(density, 160.0)) for s in sources]
    shifts, color, total, photo = _on_vertices(vertices, normals, coarse)
    filled = _diffuse(vertices, faces, color, total)
    ready = coarse
    if sharp:
        ready = [
            TextureSource(s, vertices, faces, density) if s.is_photo or s.color.shape[0] > s.camera.height else c
            for s, c in zip(sources, coarse, strict=True)
        ]
    return Palette(ready, shifts, normals, filled, total, photo)


def _mix(
    count: int, projections: list, shifts: np.ndarray, fill: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(colour [P, 3], sum of weights [P]) of `count` points; `fill` [P, 3] takes over where the weights run out."""
    low, high = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32)
    total, sharp = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for projection, shift in zip(projections, shifts, strict=True):
        peak = (projection.weight.astype(np.float64) ** SHARPNESS).astype(np.float32) + np.float32(1e-30)
        low[projection.index] += projection.weight[:, None] * (projection.low + shift.astype(np.float32))
        high[projection.index] += peak[:, None] * projection.high
        total[projection.index] += projection.weight
        sharp[projection.index] += peak
    color = low / np.maximum(total, 1e-12)[:, None] + high / np.maximum(sharp, 1e-30)[:, None]
    if fill is not None:
        known = (total / (total + UNSEEN))[:, None]
        color = color * known + fill * (1 - known)
    return color, total


def _on_vertices(
    vertices: np.ndarray, normals: np.ndarray, ready: list[TextureSource]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(shifts [S, 3], colours [N, 3], weights [N], the photo's weights [N])."""
    projections = [one.project(vertices, normals) for one in ready]
    shifts = _level(len(vertices), projections, [one.source.is_photo or one.source.exact for one in ready])
    color, total = _mix(len(vertices), projections, shifts)
    photo = np.zeros(len(vertices))
    for projection, one in zip(projections, ready, strict=True):
        if one.source.is_photo:
            photo[projection.index] += projection.weight
    return shifts, color, total, photo


def _level(count: int, projections: list, fixed: list[bool]) -> np.ndarray:
    """One colour per picture, so that the low bands of pictures agree where both look: least squares over pairs,
    twice, the second time with pairs that differ much (they see different things) weighted down.
    """
    many = len(projections)
    weight, color = np.zeros((many, count)), np.zeros((many, count, 3))
    for i, projection in enumerate(projections):
        weight[i, projection.index] = np.minimum(projection.weight, 1.0)
        color[i, projection.index] = projection.low
    shifts = np.zeros((many, 3))
    for _ in range(2):
        matrix, right = np.zeros((many, many)), np.zeros((many, 3))
        for i in range(many):
            for j in range(i):
                both = np.flatnonzero((weight[i] > 0) & (weight[j] > 0))
                gap = color[i, both] - color[j, both]
                rest = np.linalg.norm(gap + shifts[i] - shifts[j], axis=1)
                trust = np.sqrt(weight[i, both] * weight[j, both]) / (1 + (rest / 0.1) ** 2)
                pull = (trust[:, None] * gap).sum(0)
                matrix[i, i] += trust.sum()
                matrix[j, j] += trust.sum()
                matrix[i, j] -= trust.sum()
                matrix[j, i] -= trust.sum()
                right[i] -= pull
                right[j] += pull
        anchor = ANCHOR * max(np.trace(matrix) / many, 1.0)
        matrix += np.diag(np.where(fixed, 1e6 * anchor, anchor))
        shifts = np.linalg.solve(matrix, right).clip(-MAX_SHIFT, MAX_SHIFT)
    return shifts


def _diffuse(vertices: np.ndarray, faces: np.ndarray, color: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Colours everywhere: a vertex that is seen keeps its own, the others become the mean of their neighbours
    (harmonic, edges weighted by 1 / length); a piece that nobody sees at all becomes the mean colour.
    """
    count = len(vertices)
    seen = total > UNSEEN
    mean = color[seen].mean(0) if seen.any() else np.full(3, 0.5)
    if seen.all():
        return color.astype(np.float64)
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    pull = 1 / np.maximum(np.linalg.norm(vertices[start] - vertices[end], axis=1), 1e-6)
    graph = coo_matrix((pull, (start, end)), shape=(count, count)).tocsr()
    graph = graph + graph.T
    hidden = np.flatnonzero(~seen)
    degree = np.asarray(graph.sum(1)).ravel()
    hold = 1e-6 * degree[hidden].clip(1e-6, None)
    inner = diags(degree[hidden] + hold) - graph[hidden][:, hidden]
    right = graph[hidden][:, np.flatnonzero(seen)] @ color[seen] + hold[:, None] * mean
    result = color.astype(np.float64)
    result[hidden] = np.asarray(spsolve(inner.tocsc(), right)).reshape(-1, 3)
    return result


def _bake(chart: Chart, vertices: np.ndarray, palette: Palette, grain: Grain | None) -> UInt8[np.ndarray, "T T 3"]:
    """The texture; gutters hold the colour of the nearest texel, so that no filter of a viewer shows a seam."""
    size = chart.face.shape[0]
    used = np.flatnonzero(chart.face.ravel() >= 0)
    corner = chart.original[chart.faces[chart.face.ravel()[used]]]
    image = np.zeros((size * size, 3), np.float32)
    image[used] = palette.at(vertices, corner, chart.bary.reshape(-1, 3)[used], grain)
    return continued(chart.face, _to_bytes(image.reshape(size, size, 3)))


def continued(face: Int[np.ndarray, "T T"], picture: UInt8[np.ndarray, "T T 3"]) -> UInt8[np.ndarray, "T T 3"]:
    """The picture with the nearest used texel's value where no face lies (-1)."""
    empty = (face < 0).astype(np.uint8)
    if not empty.any() or empty.all():
        return picture
    used = np.flatnonzero(face.ravel() >= 0)
    _, label = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    source = np.zeros(label.max() + 1, np.int64)
    source[label.ravel()[used]] = used
    return picture.reshape(-1, 3)[source[label.ravel()]].reshape(picture.shape)


def _shares(faces: np.ndarray, area: np.ndarray, total: np.ndarray, photo: np.ndarray) -> dict[str, float]:
    whole = max(area.sum(), 1e-12)
    by_photo = (photo > UNSEEN) & (photo > 0.5 * total)
    by_views = (total > UNSEEN) & ~by_photo
    shares = [float((area * mark[faces].mean(1)).sum() / whole) for mark in (by_photo, by_views)]
    return {"photo": shares[0], "views": shares[1], "none": max(0.0, 1.0 - sum(shares))}


def _to_bytes(color: np.ndarray) -> np.ndarray:
    return (color.clip(0, 1) * 255 + 0.5).astype(np.uint8)
