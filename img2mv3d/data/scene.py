"""One object, posed, framed, softly lit and seen by the six cameras: colours, masks, normals, depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from img2mv3d.conventions import IMAGE_SIZE, WORLD_WIDTH
from img2mv3d.data.corpus import Solid
from img2mv3d.data.raycast import Raycaster, sphere_directions
from img2mv3d.geometry.cameras import SIX_VIEWS, Camera, pixel_centres, rays

FRAMING_RANGE_PX = (112, 176)  # long side of the front silhouette, px of 256
FRAMING_USED_PX = 144  # what `prepare` uses with our bundle
FRAMING_USED_SHARE = 0.45  # of the samples
MARGIN_PX = 3.0  # between any silhouette and its frame
SUPERSAMPLING = 2  # per axis
MAX_LAYERS = 12  # holes of a texture that one ray may pass
FAR = 4.0  # world units in front of the image plane where rays start: outside of everything
AO_EDGE = 0.1  # longest edge between points with ambient occlusion, object units
AO_RAYS = 16  # per point and side
AO_REACH = 0.4  # object units; farther things do not darken


@dataclass(frozen=True)
class Light:
    """Soft light, fixed in the world, without sharp shadows or highlights. All in linear light, relative to 1.

    ambient: from all around; sky: its difference between above and below. key, fill: strength of two wide lamps with
    directions towards the light. wrap: how far a lamp reaches round an edge. occlusion: 0 none .. 1 full. tint: RGB
    gain, exposure included.
    """

    ambient: float = 0.7
    sky: float = 0.2
    key: float = 0.4
    key_direction: tuple[float, float, float] = (0.4, 0.6, 0.7)
    fill: float = 0.15
    fill_direction: tuple[float, float, float] = (-0.6, 0.1, -0.8)
    wrap: float = 0.4
    occlusion: float = 0.7
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


# Even and white: the colours of the texture, nothing of the shape.
EVEN_LIGHT = Light(ambient=1.0, sky=0.0, key=0.0, fill=0.0, occlusion=0.0)


@dataclass(frozen=True, eq=False)
class Renders:
    """The six views of one pose. color float32 [V, H, W, 3] in [0, 1] over white; mask float32 [V, H, W], the covered
    share of a pixel; normal float32 [V, H, W, 3], world, unit, 0 where mask is 0; z float32 [V, H, W], world units, of
    the front surface, 0 where mask is 0. framing_px: long side of the front silhouette.
    """

    color: np.ndarray
    mask: np.ndarray
    normal: np.ndarray
    z: np.ndarray
    framing_px: int


def random_pose(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """A rotation of the object: yaw free, pitch -15..30 degrees. A positive pitch shows its top, as photos do."""
    return turned(rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(-15, 30)))


def turned(yaw: float, pitch: float, roll: float = 0.0) -> Float[np.ndarray, "3 3"]:
    """A rotation about the upright axis, then the camera's height (positive shows the top), then its roll; radians."""
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    # +Y towards +Z: the top turns to the front camera
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def random_framing(rng: np.random.Generator) -> int:
    """The long side of the front silhouette in px: often what is used, else anywhere in the range."""
    if rng.random() < FRAMING_USED_SHARE:
        return FRAMING_USED_PX
    return int(rng.integers(FRAMING_RANGE_PX[0], FRAMING_RANGE_PX[1] + 1))


def random_light(rng: np.random.Generator) -> Light:
    """Daylight from a window or a lamp, most often from above and from the camera's side; exposure and white balance
    of the photo are in `tint`, so that the other views match the photo.
    """
    azimuth, elevation = np.radians(rng.uniform(-110, 110)), np.radians(rng.uniform(10, 80))
    key = (np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation))
    strength = rng.uniform(0.1, 0.6)
    warmth, exposure = rng.normal(0, 0.05), np.exp(rng.normal(0, 0.12))
    return Light(
        ambient=1.0 - 0.75 * strength,
        sky=rng.uniform(0.0, 0.35),
        key=strength,
        key_direction=tuple(float(c) for c in key),
        fill=rng.uniform(0.0, 0.2),
        fill_direction=(-float(key[0]), float(rng.uniform(-0.2, 0.4)), -float(key[2])),
        wrap=rng.uniform(0.15, 0.8),
        occlusion=rng.uniform(0.3, 1.0),
        tint=tuple(float(exposure * np.exp(s)) for s in (warmth, rng.normal(0, 0.01), -warmth)),
    )


def place(
    vertices: Float32[np.ndarray, "N 3"], rotation: Float[np.ndarray, "3 3"], framing_px: int
) -> tuple[Float32[np.ndarray, "N 3"], int]:
    """Vertices in the world: the front silhouette's box in the middle with its long side at `framing_px`, or smaller if
    otherwise some view would leave its frame. Returns them and the framing that was reached (px).
    """
    turned = vertices.astype(np.float64) @ rotation.T
    low, high = turned.min(0), turned.max(0)
    turned -= (low + high) / 2
    unit_px = IMAGE_SIZE / WORLD_WIDTH
    wanted = framing_px / (max(high[0] - low[0], high[1] - low[1], 1e-6) * unit_px)
    across = max(
        float(np.abs(turned @ axis).max())
        for camera in SIX_VIEWS.cameras()
        for axis in (camera.world_from_cam[:3, 0], camera.world_from_cam[:3, 1])
    )
    allowed = (WORLD_WIDTH / 2 - MARGIN_PX / unit_px) / across
    scale = min(wanted, allowed)
    reached = framing_px if scale == wanted else round(framing_px * scale / wanted)
    return (turned * scale).astype(np.float32), reached


def render(
    solid: Solid,
    rotation: Float[np.ndarray, "3 3"],
    framing_px: int,
    light: Light,
    rng: np.random.Generator,
    size: int = IMAGE_SIZE,
) -> Renders:
    """Render the six views. rng: directions of the ambient rays. size: px of a view (framing stays in px of 256)."""
    fine = _subdivided(solid, AO_EDGE) if light.occlusion > 0 else solid
    placed, framing_px = place(fine.vertices, rotation, framing_px)
    world = Raycaster(placed, fine.faces)
    reach = AO_REACH * float(np.linalg.norm(np.ptp(placed, axis=0)) / np.linalg.norm(np.ptp(fine.vertices, axis=0)))
    model = _Model(fine, placed, face_normals(placed, fine.faces), world)
    shade = _Shade(light, *(_occlusion(model, reach, rng) if light.occlusion > 0 else (None, None)))
    renders = [_view(model, shade, camera) for camera in SIX_VIEWS.cameras(size)]
    color, mask, normal, z = (np.stack(parts) for parts in zip(*renders, strict=True))
    return Renders(color, mask, normal, z, framing_px)


# ----------------------------------------------------------------------------------------------------- one view


@dataclass(frozen=True, eq=False)
class _Model:
    solid: Solid
    vertices: np.ndarray  # in the world
    normals: np.ndarray  # of the faces, either sign
    world: Raycaster


@dataclass(frozen=True, eq=False)
class _Shade:
    light: Light
    reference: np.ndarray | None  # [N, 3] a direction at every vertex; the first column below is on its side
    occlusion: np.ndarray | None  # [N, 2] share of the surroundings that is open, on either side


def _view(model: _Model, shade: _Shade, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(color, mask, normal, z) of one camera, from SUPERSAMPLING x SUPERSAMPLING rays a pixel."""
    fine = camera.resized(camera.height * SUPERSAMPLING)
    uv = pixel_centres(fine.height).astype(np.float64)
    low, high = _box(model.vertices, fine)
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    origin, direction = rays(fine, uv[window].reshape(-1, 2))
    face, t, albedo, weights = _visible(model, origin - FAR * direction, direction)
    seen = face >= 0
    normal = model.normals[face]
    normal = normal * np.where((normal @ camera.forward) > 0, -1.0, 1.0).astype(np.float32)[:, None]
    bright = brightness(shade.light, normal[seen], _opened(model, shade, face[seen], weights[seen], normal[seen]))

    samples = np.zeros((len(face), 8), np.float32)  # colour 3, normal 3, z, hit
    samples[seen, :3] = np.clip(albedo[seen] * bright, 0, 1)
    samples[seen, 3:6] = normal[seen]
    samples[seen, 6] = (t[seen] - FAR).astype(np.float32)
    samples[seen, 7] = 1
    parts = _resolve(samples.reshape(*uv[window].shape[:2], 8), 4.0 / camera.width)
    return tuple(_padded(part, low, camera, 1.0 if i == 0 else 0.0) for i, part in enumerate(parts))


def _padded(part: np.ndarray, low: np.ndarray, camera: Camera, empty: float) -> np.ndarray:
    """The whole picture round the part that was rendered."""
    whole = np.full((camera.height, camera.width, *part.shape[2:]), empty, np.float32)
    top, left = low[1] // SUPERSAMPLING, low[0] // SUPERSAMPLING
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole


def _resolve(
    samples: Float32[np.ndarray, "H2 W2 8"], thickness: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Supersamples -> pixels. Depth and normal are means over the front surface only (what lies within `thickness`,
    world units, of the nearest sample): a mean over two surfaces is on neither.
    """
    k = SUPERSAMPLING
    parts = [samples[i::k, j::k] for i in range(k) for j in range(k)]
    count = sum(part[..., 7] for part in parts)
    mask = count / (k * k)
    color = sum(part[..., :3] for part in parts) / (k * k) + (1 - mask)[..., None]
    nearest = np.minimum.reduce([np.where(part[..., 7] > 0, part[..., 6], np.inf) for part in parts])
    front = [(part[..., 7] > 0) & (part[..., 6] <= nearest + thickness) for part in parts]
    z = sum(part[..., 6] * use for part, use in zip(parts, front, strict=True)) / np.maximum(sum(front), 1)
    normal = sum(part[..., 3:6] * use[..., None] for part, use in zip(parts, front, strict=True))
    normal /= np.maximum(np.sqrt((normal * normal).sum(-1, keepdims=True)), 1e-6)
    return color, mask, normal, z.astype(np.float32)


def _box(vertices: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last sample (u, v) that the object can touch, on whole pixels."""
    axes = camera.world_from_cam[:3, :2] * np.array([1.0, -1.0])
    pixels = (vertices @ axes / camera.half_width + 1) * (camera.width / (2 * SUPERSAMPLING))
    low, high = np.floor(pixels.min(0)).astype(int), np.ceil(pixels.max(0)).astype(int)
    last = camera.width // SUPERSAMPLING
    return SUPERSAMPLING * np.clip(low, 0, last), SUPERSAMPLING * np.clip(high, 0, last)


def _visible(model: _Model, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, ...]:
    """(face, t, albedo, corner weights) of the first surface that is no hole of its texture; face -1 for none."""
    face = np.full(len(origin), -1, np.int64)
    t = np.zeros(len(origin), np.float64)
    albedo, weights = np.zeros((len(origin), 3), np.float32), np.zeros((len(origin), 3), np.float32)
    left, start = np.arange(len(origin)), np.zeros(len(origin))
    for _ in range(MAX_LAYERS):
        hits = model.world.first(origin[left] + start[left, None] * direction[left], direction[left])
        found = hits.face >= 0
        left, hits_face = left[found], hits.face[found]
        if not len(left):
            break
        t[left] = start[left] + hits.t[found]
        u, v = hits.u[found], hits.v[found]
        corner = np.stack([1 - u - v, u, v], axis=-1)
        rgba = rgba_at(model.solid, hits_face, corner)
        opaque = rgba[:, 3] >= 0.5
        done = left[opaque]
        face[done], albedo[done], weights[done] = hits_face[opaque], rgba[opaque, :3], corner[opaque]
        left = left[~opaque]
        start[left] = t[left] + 1e-4
    return face, t, albedo, weights


def rgba_at(solid: Solid, face: np.ndarray, corner: np.ndarray) -> Float32[np.ndarray, "R 4"]:
    """RGBA in [0, 1] at points of faces: bilinear colours, alpha of the nearest texel."""
    if solid.texture is None or solid.uv is None:
        rgb = solid.face_rgb[face].astype(np.float32) / 255
        return np.concatenate([rgb, np.ones((len(rgb), 1), np.float32)], axis=1)
    height, width, channels = solid.texture.shape
    uv = np.einsum("rc,rcd->rd", corner, solid.uv[face]) * np.array([width, height], np.float32)
    rgba = np.ones((len(face), 4), np.float32)
    if channels == 4:
        column, row = np.clip(uv[:, 0], 0, width - 1).astype(int), np.clip(uv[:, 1], 0, height - 1).astype(int)
        rgba[:, 3] = solid.texture[row, column, 3] / 255
    x, y = np.clip(uv[:, 0] - 0.5, 0, width - 1), np.clip(uv[:, 1] - 0.5, 0, height - 1)
    x0, y0 = x.astype(int), y.astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    a, b = (x - x0)[:, None].astype(np.float32), (y - y0)[:, None].astype(np.float32)
    texture = solid.texture[..., :3]
    top = texture[y0, x0] * (1 - a) + texture[y0, x1] * a
    rgba[:, :3] = (top * (1 - b) + (texture[y1, x0] * (1 - a) + texture[y1, x1] * a) * b) / 255
    return rgba


# -------------------------------------------------------------------------------------------------------- light


def _opened(
    model: _Model, shade: _Shade, face: np.ndarray, weights: np.ndarray, normal: np.ndarray
) -> Float32[np.ndarray, " R"]:
    """The share of the ambient light that reaches points of faces."""
    if shade.occlusion is None:
        return np.ones(len(face), np.float32)
    corners = model.solid.faces[face]
    same = np.einsum("rcd,rd->rc", shade.reference[corners], normal) >= 0
    sides = shade.occlusion[corners]
    opened = (np.where(same, sides[..., 0], sides[..., 1]) * weights).sum(1)
    return (1 - shade.light.occlusion * (1 - opened)).astype(np.float32)


def brightness(
    light: Light, normal: Float32[np.ndarray, "R 3"], opened: Float32[np.ndarray, " R"]
) -> Float32[np.ndarray, "R 3"]:
    """What colours are multiplied with: (linear light) ** (1 / 2.2), which is the same as shading in linear light.

    normal: world, towards the camera. opened: share of the ambient light that gets there.
    """

    def lamp(direction: tuple[float, float, float]) -> np.ndarray:
        towards = np.asarray(direction) / max(np.linalg.norm(direction), 1e-6)
        return np.clip((normal @ towards + light.wrap) / (1 + light.wrap), 0, None)

    # The brightest direction comes out at 1: white things keep their shading against the white background.
    full = light.ambient + light.key + 0.5 * max(light.sky, 0.0)
    total = (light.ambient + light.sky * normal[:, 1]) * opened
    total = total + (light.key * lamp(light.key_direction) + light.fill * lamp(light.fill_direction)) * (1 + opened) / 2
    return (np.clip(total / full, 0.02, None)[:, None] * np.asarray(light.tint)).astype(np.float32) ** np.float32(
        1 / 2.2
    )


def _occlusion(
    model: _Model, reach: float, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "N 3"], Float32[np.ndarray, "N 2"]]:
    """At every vertex a reference direction, and how open its two sides are (1 = nothing within `reach`)."""
    faces, vertices = model.solid.faces, model.vertices
    area = np.linalg.norm(_face_crosses(vertices, faces), axis=1)
    reference = np.zeros_like(vertices)
    for corner in range(3):  # any face of the vertex decides the side, the others are turned to it
        reference[faces[:, corner]] = model.normals
    total = np.zeros_like(vertices)
    for corner in range(3):
        sign = np.sign((reference[faces[:, corner]] * model.normals).sum(1) + 1e-9)
        np.add.at(total, faces[:, corner], model.normals * (sign * (area + 1e-9))[:, None])
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    reference = np.where(np.linalg.norm(total, axis=1, keepdims=True) > 0.5, total, reference).astype(np.float32)
    sphere = sphere_directions(2 * AO_RAYS) @ _random_rotation(rng)
    opened = np.ones((len(vertices), 2), np.float32)
    for side, sign in enumerate((1.0, -1.0)):
        gain, reduce = np.zeros(len(vertices)), np.full(len(vertices), 1e-9)
        for ray in sphere:
            cosine = sign * (reference @ ray)
            use = np.flatnonzero(cosine > 0.05)
            start = vertices[use] + (reach * 0.02) * (sign * reference[use])
            hits = model.world.first(start, np.broadcast_to(ray, (len(use), 3)))
            gain[use] += cosine[use] * np.clip(hits.t / reach, 0, 1)
            reduce[use] += cosine[use]
        opened[:, side] = gain / reduce
    return reference, opened


def _random_rotation(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


# --------------------------------------------------------------------------------------------------------- mesh


def _face_crosses(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    return np.cross(b - a, c - a)


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> Float32[np.ndarray, "F 3"]:
    """Unit normals, on the side that the winding says."""
    cross = _face_crosses(vertices, faces)
    return (cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-20)).astype(np.float32)


def _subdivided(solid: Solid, edge: float, most: int = 60_000) -> Solid:
    """The same surface with edges halved until none is longer than `edge` (or faces exceed `most`)."""
    vertices, faces = solid.vertices, solid.faces.astype(np.int64)
    uv, rgb = solid.uv, solid.face_rgb
    while True:
        corners = vertices[faces]
        longest = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=-1).max(1)
        split = longest > edge
        if not split.any() or len(faces) + 3 * split.sum() > most:
            return Solid(vertices, faces.astype(np.int32), uv=uv, texture=solid.texture, face_rgb=rgb)
        cut = faces[split]
        pairs = np.sort(np.concatenate([cut[:, [0, 1]], cut[:, [1, 2]], cut[:, [2, 0]]]), axis=1)
        unique, index = np.unique(pairs, axis=0, return_inverse=True)
        ab, bc, ca = (index.reshape(3, -1) + len(vertices)).astype(np.int64)
        a, b, c = cut.T
        vertices = np.concatenate([vertices, vertices[unique].mean(1, dtype=np.float32)])
        children = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        faces = np.concatenate([faces[~split], *(np.stack(child, axis=1) for child in children)])
        if uv is not None:
            ua, ub, uc = (uv[split][:, i] for i in range(3))
            uab, ubc, uca = (ua + ub) / 2, (ub + uc) / 2, (uc + ua) / 2
            parts = [(ua, uab, uca), (uab, ub, ubc), (uca, ubc, uc), (uab, ubc, uca)]
            uv = np.concatenate([uv[~split], *(np.stack(part, axis=1) for part in parts)])
        if rgb is not None:
            rgb = np.concatenate([rgb[~split], *[rgb[split]] * 4])
