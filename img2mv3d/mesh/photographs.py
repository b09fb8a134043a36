"""Cut-out photos as sources of a texture: which camera took them, and where their pixels lie in its picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from img2mv3d.conventions import FRONT, IMAGE_SIZE
from img2mv3d.geometry.cameras import Camera, Rig
from img2mv3d.geometry.framing import Framing
from img2mv3d.mesh.sources import Source

ABOUT_Y = np.diag([-1.0, 1, -1, 1])  # half a turn about the vertical axis
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
    return Source(camera, pixels[..., :3], pixels[..., 3], scale, offset, PHOTO_PRIORITY, is_photo=True)
