"""Cut-out photos as sources of a texture: which camera took them, and where their pixels lie in its picture."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, Float32

from img2mv3d.conventions import FRONT, IMAGE_SIZE, WORLD_WIDTH
from img2mv3d.geometry.cameras import Camera, Rig
from img2mv3d.geometry.columns import CROP
from img2mv3d.geometry.framing import Framing
from img2mv3d.geometry.lathe import FLATTEST
from img2mv3d.mesh.sources import Source

ABOUT_Y = np.diag([-1.0, 1, -1, 1])  # half a turn about the vertical axis
MIRROR_PRIORITY = 8.0  # the photo's own pixels, where the other half is taken to look alike
FLANK_DEG = 62.0  # from the line of sight: at which turned things begin to show their flanks
ROOTS = float(np.sin(np.radians(FLANK_DEG)))  # of the radius: beside handles, what lies farther out is theirs
STICKING = 0.15  # of the radius: what stands out by more is a handle
FLANK_SHARE = 0.4  # of the radius: what the photo shows farther out is shown there once more
FACING = 0.88  # of a plane's normal along the line of sight: its mirror image is the back
ALIKE = (0.08, 0.16)  # difference of colours between which front and back count as alike, and as different
LOW_SHARE = 1 / 24  # of the object's width: colours are compared blurred by so much
PHOTO_PRIORITY = 60.0  # the photo's pixels are real, a view's are made up: where both see, the photo decides


def behind(rig: Rig) -> Camera:
    """The camera straight behind what the rig's front camera sees, as wide as that, for px of IMAGE_SIZE."""
    front = rig.cameras(IMAGE_SIZE)[FRONT]
    return replace(front, world_from_cam=ABOUT_Y @ front.world_from_cam)


def photo_source(full: np.ndarray, framing: Framing, camera: Camera) -> Source:
    """The cut-out (uint8 [H, W, 4]) as what the camera saw: framed px = photo px * scale + offset."""
    scale = 1 / framing.scale[0], 1 / framing.scale[1]
    offset = -framing.offset[0] * scale[0], -framing.offset[1] * scale[1]
    pixels = full.astype(np.float32) / 255
    return Source(camera, pixels[..., :3], pixels[..., 3], scale, offset, PHOTO_PRIORITY, is_photo=True, shown=True)


def without_roots(photo: Source, share: Float[np.ndarray, "H W"], x: float) -> Source:
    """The photo without what it shows of a turned thing's flanks beside a handle: its roots, and its shadow, would be
    drawn out over them. share: `round_share`. x: of the axis."""
    along, _ = _places(photo)
    flank = (share >= ROOTS) & (share <= 1)
    alpha = photo.alpha.copy()
    for side in (along < x, along >= x):
        rows = np.nonzero(((photo.alpha >= 0.5) & (share > 1 + STICKING) & side).any(1))[0]
        if len(rows):
            span = slice(rows.min(), rows.max() + 1)
            alpha[span][flank[span] & side] = 0
    return replace(photo, alpha=alpha)


def round_share(
    photo: Source, field: Float32[np.ndarray, "N N N"], axis: tuple[float, float, float]
) -> Float[np.ndarray, "H W"]:
    """How far from the axis each pixel lies, 1 at the rim of the turned thing's round part; handles lie farther out.
    field, axis: as `Body` has them."""
    x, depth, _ = axis
    _, up, towards = _stood(axis)
    nodes = np.linspace(-1, 1, field.shape[0])
    points = nodes[np.argwhere(field < 0)]
    if not len(points):  # somebody carved all of it away
        return np.full(photo.alpha.shape, np.inf)
    # Handles lie in the upright plane through the axis that faces the camera.
    away, place = np.abs(points @ towards - depth), points @ up
    step = nodes[1] - nodes[0]
    heights = np.arange(place.min(), place.max() + step, step)
    radii = np.zeros(len(heights))
    np.maximum.at(radii, ((place - place.min()) / step).round().astype(int).clip(0, len(heights) - 1), away + step / 2)
    along, down = _places(photo)
    flat = max(abs(up[2]), FLATTEST)
    rise = (down[:, None] - (heights * up[1] - depth * up[2])) / flat
    half = np.sqrt(np.clip(radii**2 - rise**2, 0, None)).max(1)
    share: np.ndarray = np.abs(along - x)[None] / np.maximum(half, 1e-6)[:, None]
    return share


def _places(photo: Source) -> tuple[Float[np.ndarray, " W"], Float[np.ndarray, " H"]]:
    """x of the photo's columns and y of its rows in the front camera's picture, world units."""
    frame = photo.camera.width
    x, y = (
        (np.arange(n) + 0.5 - photo.offset[i]) / photo.scale[i] * 2 / frame - 1
        for i, n in enumerate(photo.alpha.shape[::-1])
    )
    return x * (WORLD_WIDTH / 2), -y * (WORLD_WIDTH / 2)


def flanks(photo: Source, axis: tuple[float, float, float]) -> list[Source]:
    """The photo as both sides of a turned thing would show it, where it is drawn out itself: its mirror images in two
    upright planes through the axis, so that a label goes on where it ends. axis: as `Body` has it."""
    foot, _, towards = _stood(axis)
    angle = np.radians(FLANK_DEG)
    middle = photo.camera.width * (axis[0] + 1) / 2 * photo.scale[0] + photo.offset[0]
    away = np.arange(photo.alpha.shape[1]) + 0.5 - middle
    radius = np.abs(away[(photo.alpha >= 0.5).any(0)]).max(initial=0)
    found = []
    for side in (1.0, -1.0):
        outer = (side * away > FLANK_SHARE * radius).astype(np.float32)  # what lies beyond is the back's
        normal = np.cos(angle) * np.array([side, 0, 0]) - np.sin(angle) * towards
        plane = (*(float(n) for n in normal), float(normal @ foot))
        found.append(mirrored_source(replace(photo, alpha=photo.alpha * outer), plane))
    return found


def half_turned_source(photo: Source, axis: tuple[float, float, float]) -> Source:
    """The photo as it would show the other side of a turned thing: half a turn about its upright axis leaves writing
    legible. axis: as `Body` has it."""
    foot, up, _ = _stood(axis)
    turn = np.eye(4)
    turn[:3, :3] = 2 * np.outer(up, up) - np.eye(3)
    turn[:3, 3] = foot - turn[:3, :3] @ foot
    camera = replace(photo.camera, world_from_cam=turn @ photo.camera.world_from_cam)
    return replace(photo, camera=camera, priority=MIRROR_PRIORITY, is_photo=False)


def mirrored_source(
    photo: Source,
    plane: tuple[float, float, float, float],
    far: Float32[np.ndarray, "T T 3"] | None = None,
    frontal: bool = False,
) -> Source:
    """The photo as its mirror image in a plane (normal, offset) would show it: what the other half looks like if both
    are alike.

    far: predicted colour of the far side in the front camera's pixels, over +-CROP. Where the plane faces the camera,
    so that the mirror image would be the back, it counts only where it agrees with that. frontal: whether the photo
    shows a front; then it does not count there at all: a face has no second one.
    """
    normal, offset = np.array(plane[:3]), plane[3]
    reflect = np.eye(4)
    reflect[:3, :3] -= 2 * np.outer(normal, normal)
    reflect[:3, 3] = 2 * offset * normal
    camera = photo.camera
    # a mirrored camera is left-handed; with its picture flipped it is a camera again
    pose = reflect @ camera.world_from_cam @ np.diag([-1.0, 1, 1, 1])
    alpha = photo.alpha
    if far is not None and abs(normal @ camera.world_from_cam[:3, 2]) > FACING:
        alpha = alpha * (0 if frontal else _alike(photo, far))
    width = photo.color.shape[1]
    return replace(
        photo,
        camera=replace(camera, world_from_cam=pose),
        color=np.ascontiguousarray(photo.color[:, ::-1]),
        alpha=np.ascontiguousarray(alpha[:, ::-1]),
        offset=(width - camera.width * photo.scale[0] - photo.offset[0], photo.offset[1]),
        priority=MIRROR_PRIORITY,
        is_photo=False,
    )


def _stood(axis: tuple[float, float, float]) -> tuple[Float[np.ndarray, "3"], ...]:
    """(a point of the axis, up along it, along the horizon towards the camera). axis: as `Body` has it."""
    x, depth, elevation_deg = axis
    sin, cos = np.sin(np.radians(elevation_deg)), np.cos(np.radians(elevation_deg))
    towards = np.array([0, -sin, cos])
    return np.array([x, 0, 0]) + depth * towards, np.array([0, cos, sin]), towards


def _alike(photo: Source, far: Float32[np.ndarray, "T T 3"]) -> Float[np.ndarray, "H W"]:
    """1 where the predicted far side has the photo's colours, 0 where it differs, at the photo's own px."""
    side = far.shape[0]
    frame = photo.camera.width
    # px of the photo under the middles of far's px
    place = ((np.arange(side) + 0.5) / side * 2 - 1) * CROP
    column = (place / (WORLD_WIDTH / 2) + 1) * frame / 2 * photo.scale[0] + photo.offset[0] - 0.5
    row = (place / (WORLD_WIDTH / 2) + 1) * frame / 2 * photo.scale[1] + photo.offset[1] - 0.5
    grid = [a.astype(np.float32) for a in np.meshgrid(column, row)]
    sigma = LOW_SHARE * side * (photo.scale[0] * frame / side) * 2 * CROP / WORLD_WIDTH
    soft = cv2.GaussianBlur(photo.color * photo.alpha[..., None], (0, 0), sigma)
    share = cv2.GaussianBlur(photo.alpha, (0, 0), sigma)
    seen = cv2.remap(soft / np.maximum(share, 1e-3)[..., None], *grid, cv2.INTER_LINEAR)
    apart = np.abs(seen - cv2.GaussianBlur(far, (0, 0), LOW_SHARE * side)).mean(-1)
    alike = ((ALIKE[1] - apart) / (ALIKE[1] - ALIKE[0])).clip(0, 1).astype(np.float32)
    along, down = _places(photo)
    back = [(world / CROP + 1) * side / 2 - 0.5 for world in (along, -down)]
    return cv2.remap(alike, *(a.astype(np.float32) for a in np.meshgrid(*back)), cv2.INTER_LINEAR)
