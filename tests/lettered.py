"""A world with a right and a wrong side: a block with a tower on one corner and a letter on each of its four sides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from img2mv3d.geometry.cameras import SIX_VIEWS, Camera, pixel_centres, rays
from img2mv3d.geometry.sdf import Box, sample_grid
from img2mv3d.values import Framing, Subject, Surface, Views

BLOCK = ((0.0, -0.1, 0.0), (0.42, 0.34, 0.3))  # centre, half sides
TOWER = ((0.3, 0.34, 0.18), (0.12, 0.14, 0.12))
SIDES = {  # letter: axis, sign, the direction that is right for somebody who looks at it, colours of ground and ink
    "F": (2, 1, (1, 0, 0), (235, 200, 60), (120, 20, 30)),
    "R": (0, 1, (0, 0, -1), (70, 160, 90), (250, 250, 240)),
    "B": (2, -1, (-1, 0, 0), (60, 90, 170), (250, 230, 120)),
    "L": (0, -1, (0, 0, 1), (200, 110, 150), (20, 30, 70)),
}


@dataclass(frozen=True)
class Lettered:
    """views, surface, subject: as stages take them. letters: view name -> letter that faces it."""

    views: Views
    surface: Surface
    subject: Subject


@cache
def letter_image(letter: str) -> np.ndarray:
    """float [200, 200, 3]: how a side looks from outside."""
    _, _, _, ground, ink = SIDES[letter]
    picture = Image.new("RGB", (200, 200), ground)
    ImageDraw.Draw(picture).text((100, 100), letter, ink, ImageFont.load_default(190), anchor="mm")
    return np.asarray(picture) / 255.0


def look(camera: Camera, px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rgb [P, 3], hit [P]) behind pixels [P, 2]: slabs, no rasteriser and no mesh."""
    origin, direction = (a.astype(np.float64) for a in rays(camera, px.astype(np.float64)))
    direction = np.where(np.abs(direction) < 1e-12, 1e-12, direction)
    best, color = np.full(len(px), np.inf), np.ones((len(px), 3))
    for number, (centre, half) in enumerate((BLOCK, TOWER)):
        a, b = ((np.array(centre) + s * np.array(half) - origin) / direction for s in (-1, 1))
        enter = np.minimum(a, b)
        first, last, axis = enter.max(1), np.maximum(a, b).min(1), enter.argmax(1)
        hit = (first < last) & (first < best)
        best = np.where(hit, first, best)
        local = (origin + first[:, None] * direction - centre) / half
        paint = np.full((len(px), 3), 0.55)
        paint[:, number] = 0.8
        if number == 0:
            for letter, (side, sign, right, _, _) in SIDES.items():
                on = (axis == side) & (local[np.arange(len(px)), axis] * sign > 0)
                column = ((local @ np.array(right) + 1) * 100).clip(0, 199).astype(int)
                row = ((1 - local[:, 1]) * 100).clip(0, 199).astype(int)
                paint[on] = letter_image(letter)[row[on], column[on]]
        color[hit] = paint[hit]
    return color, np.isfinite(best)


def picture(camera: Camera, samples: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """(straight rgb [H, W, 3], alpha [H, W]), samples x samples rays a pixel."""
    fine = camera.resized(camera.height * samples)
    px = pixel_centres(fine.height).reshape(-1, 2)
    near = (np.abs(px / fine.width - 0.5) < [0.32, 0.25]).all(1)  # the block fills no more
    color, hit = np.ones((len(px), 3)), np.zeros(len(px), bool)
    color[near], hit[near] = look(fine, px[near])
    shape = (camera.height, samples, camera.width, samples)
    alpha = hit.reshape(shape).mean((1, 3))
    total = (color * hit[:, None]).reshape(*shape, 3).mean((1, 3))
    return total / np.maximum(alpha, 1e-9)[..., None], alpha


def lettered_block() -> Lettered:
    """The block, seen exactly by the six cameras, and photographed at twice their resolution."""
    pictures = [picture(camera) for camera in SIX_VIEWS.cameras(256)]
    mask = np.stack([alpha for _, alpha in pictures]).astype(np.float32)
    color = np.stack([c * a[..., None] + 1 - a[..., None] for c, a in pictures]).astype(np.float32)
    views = Views(color, None, mask, SIX_VIEWS)
    solid = Box(*BLOCK) | Box(*TOWER)
    surface = Surface(sample_grid(solid, 96))
    photo, alpha = picture(SIX_VIEWS.cameras(512)[0], 1)
    full = (np.concatenate([photo, alpha[..., None]], -1) * 255 + 0.5).astype(np.uint8)
    full = full[50:, 30:]  # a photo has its own frame
    framing = Framing((0.5, 0.5), (15.0, 25.0), 144)
    small = np.concatenate([color[0], mask[0][..., None]], -1)
    subject = Subject((small * 255 + 0.5).astype(np.uint8), full, framing)
    return Lettered(views, surface, subject)
