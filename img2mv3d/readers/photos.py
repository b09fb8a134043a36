"""Picture files of any common kind -> `Photo`, upright, 8 bit sRGB; masks likewise."""

from __future__ import annotations

import importlib
import io
import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from img2mv3d.errors import PhotoError
from img2mv3d.values import Photo

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE = 3072  # px; longer photos are reduced: the object ends in 256 px, its texture in 2048
SOLID = 128  # alpha of 255 from which on a pixel is covered, here as everywhere
MIN_SIDE = 16  # px; less cannot show an object
MAX_PIXELS = 100_000_000  # decoded at once: 400 MB as RGBA; a 108 megapixel JPEG is decoded at half size, so it passes
MAX_BYTES = 1 << 30  # of a file on disk
RAW = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw")  # of cameras
ARRAYS = (".latent", ".safetensors", ".npy", ".ckpt", ".pth", ".gguf", ".bin")
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF")  # no EPS: it would start a program
READABLE = "PNG, JPEG, WebP, TIFF, GIF, BMP"


def read_photo(path: str | Path) -> Photo:
    """The photo in a file: turned upright (EXIF), colours to sRGB (ICC profile), 16 bit and grey and palette and CMYK
    to 8 bit RGB, alpha kept; one that is nowhere below one half counts as none.

    Longer sides than MAX_SIDE px are reduced, of animations the first picture is taken, both with a warning in
    `Photo.warnings`. Raises PhotoError when the path is missing, no file, empty, no picture, cut off, too large (before
    anything is decoded) or smaller than MIN_SIDE px.
    """
    picture, notes = _read(Path(path))
    rgba = np.array(picture)
    return Photo(rgba, bool((rgba[..., 3] < SOLID).any()), Path(path).name, tuple(notes))


def read_mask(path: str | Path) -> np.ndarray:
    """A mask from a picture file: uint8 [H, W], 255 is object. Its alpha if it has one that says something, else its
    brightness. Raises PhotoError as `read_photo` does, or when the mask is all object or all background.
    """
    picture, _ = _read(Path(path))
    alpha = np.array(picture.getchannel("A"))
    mask = alpha if alpha.min() < SOLID else np.array(picture.convert("RGB").convert("L"))
    share = float((mask >= SOLID).mean())
    if not 0 < share < 1:
        found = "nothing" if share == 0 else "everything"
        raise PhotoError(f"{path}: this mask marks {found} as object; paint the object white and the rest black")
    return mask


def _read(path: Path) -> tuple[Image, list[str]]:
    """An upright RGBA picture in sRGB, at most MAX_SIDE px a side, and what had to be done to it."""
    from PIL import Image

    data = _whole(_bytes_of(path))
    if path.suffix.lower() in RAW:  # most are TIFF files with a small preview inside, which nobody means
        raise PhotoError(f"{path}: is a camera's RAW file; develop it and export it as JPEG or PNG")
    if is_heic(data):
        _know_heic(path)
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow: bombs are measured below, odd metadata does not matter here
        try:
            Image.init()
            picture = Image.open(io.BytesIO(data), formats=[n for n in (*FORMATS, "HEIF") if n in Image.OPEN])
        except Image.DecompressionBombError:
            raise PhotoError(f"{path}: more than 178 megapixels; reduce it first") from None
        except Exception:  # decoders raise many kinds; all mean the same to the user
            raise PhotoError(f"{path}: {_what_it_is(path, data)}") from None
        with picture:
            _check_size(picture, path)
            if _frames(picture) > 1:
                notes.append(f"{path.name} holds {_frames(picture)} pictures; the first one is used")
            try:
                picture.load()
                upright = _turn(_to_rgba(picture, path, notes), picture)
            except PhotoError:
                raise
            except MemoryError:
                raise PhotoError(f"{path}: too large for this machine's memory; reduce it first") from None
            except Exception as error:
                raise PhotoError(f"{path}: the file is damaged or cut off ({_short(error)}); fetch it again") from None
    if max(upright.size) > MAX_SIDE:
        before = f"{upright.width} x {upright.height}"
        if min(upright.size) * MAX_SIDE < MIN_SIDE * max(upright.size):
            raise PhotoError(f"{path}: {before} px is too long and thin to show an object; crop it")
        upright.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
        notes.append(f"{path.name} was reduced from {before} to {upright.width} x {upright.height} px")
    return upright, notes


def _bytes_of(path: Path) -> bytes:
    """The file's bytes, once it is known to be an ordinary file of a sensible size."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise PhotoError(f"{path}: is a folder; give one photo file")
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError(f"{path}: is not a regular file; save the photo to a file first")
        if status.st_size == 0:
            raise PhotoError(f"{path}: is empty (0 bytes); fetch it again")
        if status.st_size > MAX_BYTES:
            raise PhotoError(f"{path}: {status.st_size / 2**30:.1f} GiB is too large for a photo; reduce it first")
        return path.read_bytes()
    except FileNotFoundError:
        raise PhotoError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise PhotoError(f"{path}: cannot be opened ({_short(error)})") from None


def is_heic(data: bytes) -> bool:
    """Are these the first bytes of a HEIC photo?"""
    return data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"hevc")


def _know_heic(path: Path) -> None:
    """Teach Pillow HEIC. Raises PhotoError without the extra."""
    try:
        pillow_heif = importlib.import_module("pillow_heif")
    except ImportError:
        words = "HEIC photos need the extra `heic`: pip install 'img2mv3d[heic]', or export it as JPEG"
        raise PhotoError(f"{path}: {words}") from None
    pillow_heif.register_heif_opener()


def _whole(data: bytes) -> bytes:
    """A JPEG that lacks nothing but its end mark gets one: with all of the picture there, what follows it changes
    nothing, neither the mark nor noise before it."""
    from PIL import Image

    if data[:2] != b"\xff\xd8" or b"\xff\xd9" in data[-4096:]:
        return data
    data = data.removesuffix(b"\xff")
    found = []
    for rest in (b"", b"\x35\xa7\x5c\x91" * 64):
        try:
            with Image.open(io.BytesIO(data + rest + b"\xff\xd9"), formats=["JPEG"]) as picture:
                found.append(picture.tobytes())
        except Exception:  # it is told where it is read
            return data
    return data + b"\xff\xd9" if found[0] == found[1] else data


def _what_it_is(path: Path, data: bytes) -> str:
    if path.suffix.lower() in ARRAYS:
        return "holds weights, latents or arrays, no photo; latents that can be carried on are latents.pt of a run"
    if path.suffix.lower() == ".svg" or data[:256].lstrip()[:5] in (b"<?xml", b"<svg "):
        return "is a drawing or a text, not a photo; export it as PNG"
    return f"cannot be read as an image, or its header is damaged; give {READABLE}"


def _check_size(picture: Image, path: Path) -> None:
    """Refuses before decoding; large JPEGs are set to be decoded at 1/2, 1/4 or 1/8."""
    if min(picture.size) < MIN_SIDE:
        raise PhotoError(
            f"{path}: {picture.width} x {picture.height} px is too small; at least {MIN_SIDE} px a side are needed"
        )
    if picture.format in ("JPEG", "MPO") and max(picture.size) > 2 * MAX_SIDE:
        picture.draft(None, (MAX_SIDE, MAX_SIDE))
    if picture.width * picture.height > MAX_PIXELS:
        found = f"{picture.width} x {picture.height} px"
        raise PhotoError(f"{path}: {found} is more than {MAX_PIXELS // 10**6} megapixels; reduce it first")


def _frames(picture: Image) -> int:
    if picture.format == "MPO":  # a phone's photo with previews or depth behind it: nobody means those
        return 1
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception:  # a damaged second picture is no matter
        return 1


def _to_rgba(picture: Image, path: Path, notes: list[str]) -> Image:
    """8 bit RGBA in sRGB, whatever the mode."""
    from PIL import Image

    profile = picture.info.get("icc_profile")
    alpha = None
    if picture.mode in ("PA", "P", "La", "RGBa") or (picture.mode in ("1", "L", "RGB") and _has_transparent(picture)):
        picture = picture.convert("RGBA")
    if picture.mode in ("RGBA", "LA"):
        alpha, picture = picture.getchannel("A"), picture.convert("RGB" if picture.mode == "RGBA" else "L")
    elif picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(_grey_bytes(np.array(picture)))
    elif picture.mode in ("1", "YCbCr", "HSV", "RGBX"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    rgb = _to_srgb(picture, profile, path, notes).convert("RGBA")
    if alpha is not None:
        rgb.putalpha(alpha)
    return rgb


def _has_transparent(picture: Image) -> bool:
    return "transparency" in picture.info


def _grey_bytes(grey: np.ndarray) -> np.ndarray:
    """Integers of 16 or 32 bit or floats -> uint8. Range by type or, where the type does not tell, by content."""
    top = 65535.0 if grey.dtype.itemsize == 2 else 0.0
    values = np.nan_to_num(grey.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if not top:
        peak = values.max(initial=0.0)
        ranges = (1.0, 255.0, 65535.0) if grey.dtype.kind == "f" else (255.0, 65535.0)
        top = next((r for r in ranges if peak <= r * 1.001), max(peak, 1.0))
    return (np.clip(values / top, 0, 1) * 255 + 0.5).astype(np.uint8)


def _to_srgb(picture: Image, profile: bytes | None, path: Path, notes: list[str]) -> Image:
    """`picture` (L, RGB, CMYK or LAB) through its ICC profile to sRGB; without one the values are taken as they are."""
    from PIL import ImageCms

    target: Any = ImageCms.createProfile("sRGB")
    if picture.mode == "LAB":
        return ImageCms.profileToProfile(picture, ImageCms.createProfile("LAB"), target, outputMode="RGB")
    if not profile:
        return picture.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
            return picture.convert("RGB")
        if space == "RGB" and picture.mode == "L":
            picture = picture.convert("RGB")
        if space != {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[picture.mode]:
            raise ImageCms.PyCMSError(f"a profile for {space}, a picture in {picture.mode}")
        return ImageCms.profileToProfile(picture, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError) as error:
        notes.append(f"{path.name} has a colour profile that cannot be used ({_short(error)}); colours may be off")
        return picture.convert("RGB")


def _turn(upright: Image, source: Image) -> Image:
    """`upright` turned as the EXIF orientation of `source` says. Asked after decoding: TIFF turns itself then."""
    from PIL import Image

    try:
        orientation = source.getexif().get(0x0112, 1)
    except Exception:  # broken EXIF: the picture as it lies
        return upright
    ways = Image.Transpose
    turns = {
        2: ways.FLIP_LEFT_RIGHT,
        3: ways.ROTATE_180,
        4: ways.FLIP_TOP_BOTTOM,
        5: ways.TRANSPOSE,
        6: ways.ROTATE_270,
        7: ways.TRANSVERSE,
        8: ways.ROTATE_90,
    }
    return upright.transpose(turns[orientation]) if orientation in turns else upright


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0][:100]
