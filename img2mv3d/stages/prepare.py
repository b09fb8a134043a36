"""Photo -> Subject: the object cut out of its photo and framed for the generator.

In: Photo, perhaps a mask. Out: Subject (framed 256 px picture, cut-out at the photo's resolution, what happened).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from img2mv3d.errors import NothingFoundError, PhotoError, UsageError
from img2mv3d.geometry.framing import frame
from img2mv3d.matting import edges, keying, model
from img2mv3d.plans import PrepareOptions
from img2mv3d.values import Photo, Subject

REMOVERS = ("auto", "alpha", "plain", "u2netp", "grabcut")
WORK_SIDE = 1024  # px of the long side at which backgrounds are judged; edges are then drawn at the photo's size
TINY_PX, FEW_PX = 32, 8  # an object smaller than this is unsharp / cannot be used
SPECK = 0.002  # share of the main piece; smaller pieces are dirt
FAR = 0.04  # share of the photo's long side: pieces farther from the main one are other objects
CUT = 0.2  # share of the object's box along a border of the photo from which on it counts as cut there
GUESSED_WHOLE = 0.97  # share of the photo from which on a guessed cut-out means: nothing was told apart
PINHOLE = 0.01  # share of the object
DOUBT = 0.002  # share of the object that may be a shadow without anybody else being asked
UNSURE = 0.5  # the surest pixel of a saliency map below which there is nothing to see


def prepare(
    photo: Photo, *, framing_px: int, options: PrepareOptions, mask: UInt8[np.ndarray, "H W"] | None = None
) -> Subject:
    """Cut the object out of `photo`, keep the main one, frame it: its long side at `framing_px` of 256 px.

    mask: uint8, 255 is object, any size of the photo's proportions; it replaces the remover. options.remover: alpha
    (the file's own), plain (key out a plain background), u2netp (needs onnxruntime and the model), grabcut, or auto:
    the first of these that applies. options.framing_px, when given, goes before `framing_px`.
    Warnings are sentences in `Subject.warnings`. Raises NothingFoundError when no object can be told from the
    background, PhotoError when the mask does not fit, UsageError when the remover cannot do what was asked.
    """
    warnings = list(photo.warnings)
    rgb = np.ascontiguousarray(photo.rgba[..., :3])
    if mask is not None:
        remover, alpha = "mask", _fitted(mask, photo)
    else:
        remover, alpha = _remove(photo, rgb, options.remover, warnings)
    drawn = remover in ("mask", "alpha")  # the user's own word: taken as it is
    alpha = _main_object(alpha, photo.name, drawn, warnings)
    _look_at_borders(alpha, photo.name, drawn, warnings)
    _look_at_size(alpha, photo.name, warnings)
    if remover != "alpha":
        rgb = edges.clean_colours(rgb, alpha)
    full = np.dstack([rgb, (alpha * 255 + 0.5).astype(np.uint8)])
    image, framing = frame(full, options.framing_px or framing_px)
    return Subject(image, full, framing, remover, tuple(warnings))


def _fitted(mask: UInt8[np.ndarray, "h w"], photo: Photo) -> Float32[np.ndarray, "H W"]:
    height, width = photo.rgba.shape[:2]
    if abs(mask.shape[1] * height / (mask.shape[0] * width) - 1) > 0.02:
        found = f"{mask.shape[1]} x {mask.shape[0]} px for a photo of {width} x {height}"
        raise PhotoError(f"{photo.name}: the mask has another aspect ratio ({found}); draw it on the photo itself")
    if mask.shape != (height, width):
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return mask.astype(np.float32) / 255


def _remove(
    photo: Photo, rgb: UInt8[np.ndarray, "H W 3"], remover: str, warnings: list[str]
) -> tuple[str, Float32[np.ndarray, "H W"]]:
    """(what was used, alpha)."""
    if remover not in REMOVERS:
        raise UsageError(f"remover {remover!r}: one of {', '.join(REMOVERS)}")
    if remover == "alpha" and not photo.has_alpha:
        raise UsageError(f"{photo.name} has no transparent background; choose another remover or give --mask FILE")
    if photo.has_alpha and remover in ("auto", "alpha"):
        return "alpha", photo.rgba[..., 3].astype(np.float32) / 255
    if photo.has_alpha:  # another remover was asked for: what is transparent shows white
        cover = photo.rgba[..., 3:].astype(np.float32) / 255
        rgb = (rgb * cover + 255 * (1 - cover) + 0.5).astype(np.uint8)
    scale = min(1.0, WORK_SIDE / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
    file = model.find_model()
    if remover in ("auto", "plain"):
        key = keying.key_plain(small)
        if key is not None:
            alpha = key.alpha
            if file is not None and key.doubt.sum() > DOUBT * alpha.sum():
                alpha = keying.without_shadows(key, model.saliency(small, file)[0] > 0.5)
            return "plain", alpha if scale == 1 else _sharpened(edges.follow_edges(rgb, alpha, 3))
        if remover == "plain":
            raise UsageError(f"{photo.name}: the background is not plain; use --remover auto or give --mask FILE")
    if remover in ("auto", "u2netp") and file is not None:
        return "u2netp", _by_saliency(rgb, small, partial(model.saliency, model=file), photo.name)
    if remover == "u2netp":
        raise UsageError(f"the remover u2netp is not installed; {model.RECIPE}")
    if remover == "auto":
        warnings.append("the background was removed by colour alone (GrabCut); the extra `matting` does it better")
    return "grabcut", _by_colour(rgb, small, photo.name)


def _by_saliency(
    rgb: np.ndarray, small: np.ndarray, saliency: Callable[[np.ndarray], tuple[np.ndarray, float]], name: str
) -> Float32[np.ndarray, "H W"]:
    """U2-Netp on the whole, then on the object's surroundings, where its 320 px go farther; colours decide what it
    leaves open, then the photo's edges.
    """
    whole, surest = saliency(small)
    if surest < UNSURE:
        raise NothingFoundError(f"{name}: no object stands out; move closer, or give --mask FILE")
    near = whole
    rows, columns = np.flatnonzero((whole > 0.5).any(1)), np.flatnonzero((whole > 0.5).any(0))
    margin = 0.15 * max(np.ptp(rows), np.ptp(columns)) + 8
    top, bottom = (int(n) for n in np.clip([rows[0] - margin, rows[-1] + margin], 0, small.shape[0]))
    left, right = (int(n) for n in np.clip([columns[0] - margin, columns[-1] + margin], 0, small.shape[1]))
    if (bottom - top) * (right - left) < 0.7 * whole.size:
        near = np.zeros_like(whole)
        near[top:bottom, left:right], _ = saliency(np.ascontiguousarray(small[top:bottom, left:right]))
    guess = (whole + near) / 2
    labels = np.full(guess.shape, edges.MAYBE_BACKGROUND, np.uint8)
    labels[guess > 0.5] = edges.MAYBE_OBJECT
    labels[guess > 0.95] = edges.OBJECT
    labels[guess < 0.05] = edges.BACKGROUND
    cut = edges.grab_cut(small, labels, 3)  # where the network is of two minds it leaves a veil; colours decide
    return _sharpened(edges.follow_edges(rgb, cut, 6))


def _by_colour(rgb: np.ndarray, small: np.ndarray, name: str) -> Float32[np.ndarray, "H W"]:
    """GrabCut from the guess that the border is background and the middle is object."""
    height, width = small.shape[:2]
    labels = np.full((height, width), edges.MAYBE_BACKGROUND, np.uint8)
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    labels[np.hypot(x, y) < 0.75] = edges.MAYBE_OBJECT
    edge = max(2, round(0.02 * max(height, width)))
    labels[:edge] = labels[-edge:] = edges.BACKGROUND
    labels[:, :edge] = labels[:, -edge:] = edges.BACKGROUND
    cut = edges.grab_cut(small, labels)
    if not (cut > 0.5).any():
        raise NothingFoundError(f"{name}: no object can be distinguished from the background; give --mask FILE")
    return _sharpened(edges.follow_edges(rgb, _without_pinholes(cut), 6))


def _without_pinholes(cut: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Closes holes below PINHOLE of the object: a dark eye goes to a dark background, where colour alone decides."""
    inside = cut > 0.5
    count, label, stats, _ = cv2.connectedComponentsWithStats((~inside).astype(np.uint8), connectivity=4)
    small = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] < PINHOLE * inside.sum()]
    holes = cv2.dilate(np.isin(label, small).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    return np.where(holes, 1, cut).astype(np.float32)


def _sharpened(alpha: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """A guided filter leaves a faint veil: what is nearly 0 or 1 becomes so."""
    return ((alpha - 0.15) / 0.7).clip(0, 1)


def _main_object(
    alpha: Float32[np.ndarray, "H W"], name: str, drawn: bool, warnings: list[str]
) -> Float32[np.ndarray, "H W"]:
    """`alpha` without dirt and, unless drawn by the user, without other objects."""
    solid = (alpha >= 0.5).astype(np.uint8)
    count, label, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=8)
    if count == 1:
        raise NothingFoundError(f"{name}: no object was found; give --mask FILE or another --remover")
    area = stats[1:, cv2.CC_STAT_AREA].astype(float)
    main = 1 + int(area.argmax())
    gap = cv2.distanceTransform((label != main).astype(np.uint8), cv2.DIST_L2, 3)
    far = (
        [i for i in range(1, count) if i != main and gap[label == i].min() > FAR * max(alpha.shape)]
        if count < 400
        else []
    )
    others = [i for i in far if area[i - 1] >= 0.1 * area.max()]
    if others and drawn:
        warnings.append(f"{name} shows {1 + len(others)} separate objects; they become one mesh")
    elif others:
        warnings.append(f"{name} shows {1 + len(others)} separate objects; the largest is used (--mask FILE chooses)")
    specks = [i for i in range(1, count) if area[i - 1] < SPECK * area.max()]
    dropped = specks if drawn else sorted({*specks, *far})
    if not dropped:
        return alpha
    kept = np.isin(label, [i for i in range(1, count) if i not in set(dropped)])
    reach = cv2.dilate(kept.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    return np.where(reach & ~np.isin(label, dropped), alpha, 0).astype(np.float32)


def _look_at_borders(alpha: Float32[np.ndarray, "H W"], name: str, drawn: bool, warnings: list[str]) -> None:
    """Warns of every border that cuts the object; tangent borders of a tight crop do not count."""
    solid = alpha >= 0.5
    if not drawn and solid.mean() > GUESSED_WHOLE:
        raise NothingFoundError(f"{name}: there is no background around the object; step back or give --mask FILE")
    across, along = solid.any(0).sum(), solid.any(1).sum()
    share = {
        "top": solid[0].sum() / across,
        "bottom": solid[-1].sum() / across,
        "left": solid[:, 0].sum() / along,
        "right": solid[:, -1].sum() / along,
    }
    cut = [side for side, s in share.items() if s > CUT]
    if len(cut) == 4 and not drawn:
        raise NothingFoundError(f"{name}: the object is cut by all four borders; step back or give --mask FILE")
    if len(cut) >= 3:
        warnings.append(f"{name}: the object is cut by {len(cut)} borders, most of it is missing; step back")
    elif cut:
        warnings.append(f"{name}: the object is cut by the {' and '.join(cut)} border; the mesh ends there")


def _look_at_size(alpha: Float32[np.ndarray, "H W"], name: str, warnings: list[str]) -> None:
    solid = alpha >= 0.5
    side = int(max(np.ptp(np.flatnonzero(solid.any(0))), np.ptp(np.flatnonzero(solid.any(1))))) + 1
    if side < FEW_PX:
        raise NothingFoundError(f"{name}: the object is only {side} px long; crop the photo to it or move closer")
    if side < TINY_PX:
        warnings.append(f"{name}: the object is only {side} px long; the result will be blurred")
