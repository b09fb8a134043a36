"""A mesh -> a short film of it turning once: gif, webp or mp4, read back before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from img2mv3d.errors import ResourceError, UsageError
from img2mv3d.geometry.cameras import Camera
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.preview import render_mesh

KINDS = ("gif", "webp", "mp4")
TILT_DEG = 15.0  # a little from above
DISTANCE = 3.6  # radii of the mesh: perspective as people hold things
BACKGROUND = (255, 255, 255)
MARGIN = 0.02  # of the side, left and right of a wide cut-out
WORKERS = 2  # pictures at a time: the compiled parts and NumPy's let each other run
FRAME_MS = 50  # how long a picture stands; gif counts in steps of 10


def frames(mesh: MeshArrays, count: int, side: int) -> Iterator:
    """`count` pictures round the y axis, uint8 [side, side, 3], the first from the front; the mesh fills them."""
    middle = (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
    radius = float(np.linalg.norm(mesh.vertices - middle, axis=1).max()) or 1.0
    body = MeshArrays((mesh.vertices - middle) / radius, mesh.faces, mesh.colors, mesh.uv, mesh.texture)
    half = DISTANCE / np.sqrt(DISTANCE**2 - 1) * 1.02  # the ball of radius 1 just fits

    def picture(i: int) -> np.ndarray:
        camera = Camera.orbit(-360.0 * i / count, TILT_DEG, half_width=half, distance=DISTANCE, size=side)
        rgba = render_mesh(body, camera, side)
        alpha = rgba[..., 3:] / 255.0
        found: np.ndarray = (rgba[..., :3] * alpha + np.array(BACKGROUND) * (1 - alpha) + 0.5).astype(np.uint8)
        return found

    with ThreadPoolExecutor(WORKERS) as pool:
        yield from pool.map(picture, range(count))


def side_by_side(pictures: list[np.ndarray], cutout: UInt8[np.ndarray, "H W 4"]) -> list[np.ndarray]:
    """The film's pictures [side, side, 3] with the cut-out photo (straight alpha) standing still at their left, in the
    middle of a square of its own: as high as the mesh is in the first picture, or as wide as the square allows.
    """
    side = len(pictures[0])
    shown = np.flatnonzero((pictures[0] < BACKGROUND).any((1, 2)))
    top, bottom = (shown[0], shown[-1] + 1) if len(shown) else (0, side)
    rows, columns = (np.flatnonzero((cutout[..., 3] > 127).any(axis)) for axis in (1, 0))
    object_ = Image.fromarray(cutout[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = min((bottom - top) / object_.height, (side - 2 * MARGIN * side) / object_.width)
    small = object_.resize([max(1, round(length * scale)) for length in object_.size], Image.Resampling.LANCZOS)
    panel = Image.new("RGBA", (side, side), (*BACKGROUND,))
    panel.alpha_composite(small, ((side - small.width) // 2, (top + bottom - small.height) // 2))
    left = np.asarray(panel.convert("RGB"))
    return [np.concatenate([left, picture], axis=1) for picture in pictures]


def write_film(pictures: list[np.ndarray], path: Path, kind: str) -> None:
    """Write the pictures (uint8 [H, W, 3]) as an endless gif or webp, or as an mp4 (VP9: browsers and VLC play it).

    Raises UsageError on an unknown kind or an mp4 that OpenCV here cannot write, ResourceError when the file cannot be
    read back whole; an older file then stays.
    """
    if kind not in KINDS:
        raise UsageError(f"--format {kind}: expected one of {', '.join(KINDS)}")
    draft = path.with_name(f".{path.stem}-{os.getpid()}.{kind}")
    try:
        {"gif": _write_gif, "webp": _write_webp, "mp4": _write_mp4}[kind](pictures, draft)
        if (found := count_frames(draft)) != len(pictures):
            raise ResourceError(f"{path}: {found} of {len(pictures)} pictures can be read back; is the disk full?")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def count_frames(path: Path) -> int:
    """How many pictures a film holds that can be decoded. Equal neighbours, which gif and webp keep as one that stands
    longer, count as what they were.
    """
    if path.suffix == ".mp4":
        import cv2

        film, count = cv2.VideoCapture(str(path)), 0
        while film.read()[0]:
            count += 1
        film.release()
        return count
    stands = 0.0
    with Image.open(path) as film:
        for i in range(getattr(film, "n_frames", 1)):
            film.seek(i)
            film.load()
            stands += film.info["duration"]
    return round(stands / FRAME_MS)


def _write_gif(pictures: list[np.ndarray], path: Path) -> None:
    """One palette for all pictures, or colours would flicker."""
    some = [Image.fromarray(p) for p in pictures[:: max(1, len(pictures) // 8)]]
    board = Image.new("RGB", (some[0].width * len(some), some[0].height))
    for i, picture in enumerate(some):
        board.paste(picture, (i * picture.width, 0))
    palette = board.quantize(255, method=Image.Quantize.MEDIANCUT)
    coded = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for p in pictures]
    coded[0].save(path, save_all=True, append_images=coded[1:], duration=FRAME_MS, loop=0, disposal=1)


def _write_webp(pictures: list[np.ndarray], path: Path) -> None:
    first, *rest = (Image.fromarray(p) for p in pictures)
    first.save(path, save_all=True, append_images=rest, duration=FRAME_MS, loop=0, quality=85, method=4)


def _write_mp4(pictures: list[np.ndarray], path: Path) -> None:
    import cv2

    height, width = pictures[0].shape[:2]
    if height % 2 or width % 2:
        raise UsageError(f"an mp4 needs even sides, not {width} x {height} px")
    film = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"vp09"), 1000 / FRAME_MS, (width, height))
    if not film.isOpened():
        raise UsageError("this OpenCV cannot write mp4 files (VP9); take --format webp or gif")
    for picture in pictures:
        film.write(np.ascontiguousarray(picture[..., ::-1]))
    film.release()
