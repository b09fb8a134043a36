"""Pictures of a training: its loss curve and sheets of samples."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 640, 360, 40  # px of the curve's picture
COLORS = ((200, 60, 40), (40, 130, 70), (150, 80, 180), (200, 140, 0))


def tile(rows: Sequence[Sequence[np.ndarray]], gap: int = 2) -> UInt8[np.ndarray, "H W 3"]:
    """Rows of pictures [h, w, 3] of one size, float in [0, 1] (clipped) or uint8 -> one sheet; missing places stay
    grey."""
    h, w = rows[0][0].shape[:2]
    wide = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (h + gap) - gap, wide * (w + gap) - gap, 3), 128, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            if picture.dtype != np.uint8:
                picture = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
            sheet[i * (h + gap) : i * (h + gap) + h, j * (w + gap) : j * (w + gap) + w] = picture
    return sheet


def draw_curve(
    losses: Sequence[tuple[int, float, float]], figures: Sequence[tuple[int, str, float]] = ()
) -> UInt8[np.ndarray, "H W 3"]:
    """Loss over steps on a logarithmic axis (black), each held-out figure scaled to its own range (coloured, range in
    words)."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((MARGIN, MARGIN, WIDTH - MARGIN, HEIGHT - MARGIN), outline=(180, 180, 180))
    end = max([s for s, _, _ in losses] + [s for s, _, _ in figures] + [1])
    curves = [("loss (log)", [(s, math.log(max(v, 1e-9))) for s, _, v in losses], (0, 0, 0))]
    for i, name in enumerate(dict.fromkeys(name for _, name, _ in figures)):
        curves.append((name, [(s, v) for s, n, v in figures if n == name], COLORS[i % len(COLORS)]))
    for i, (name, points, color) in enumerate(curves):
        if not points:
            continue
        low, high = min(v for _, v in points), max(v for _, v in points)
        span = max(high - low, 1e-9)
        line = [
            (MARGIN + (WIDTH - 2 * MARGIN) * s / end, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (v - low) / span)
            for s, v in points
        ]
        if len(line) > 1:
            draw.line(line, fill=color)
        shown = [math.exp(v) if i == 0 else v for v in (low, high, points[-1][1])]
        draw.text(
            (MARGIN + 180 * (i % 3), 4 + 14 * (i // 3)),
            f"{name} {shown[0]:.3g}..{shown[1]:.3g}, now {shown[2]:.3g}",
            fill=color,
        )
    draw.text((MARGIN, HEIGHT - MARGIN + 6), f"0 to {end} steps", fill=(0, 0, 0))
    return np.asarray(picture)


def write_picture(path: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """uint8 [H, W, 3] -> PNG, renamed into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(pixels).save(temporary, format="PNG")
    os.replace(temporary, path)
