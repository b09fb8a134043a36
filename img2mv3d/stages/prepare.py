"""Photo -> Subject: the object cut out of its photo and framed for the generator.

In: Photo, perhaps a mask. Out: Subject (framed 256 px picture, cut-out at the photo's resolution, what happened).
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from img2mv3d.errors import NothingFoundError, PhotoError, UsageError
from img2mv3d.geometry.framing import frame
from img2mv3d.matting import choice, edges, keying, model
from img2mv3d.plans import REMOVERS, PrepareOptions
from img2mv3d.values import Photo, Subject

WORK_SIDE = 1024  # px of the long side at which backgrounds are judged; edges are then drawn at the photo's size
TINY_PX, FEW_PX = 32, 8  # an object smaller than this is unsharp / cannot be used
SPECK = 0.002  # share of the main piece; smaller pieces are dirt
FAR = 0.08  # share of the photo's long side: pieces farther than this from all of the object's are other objects
RIM = 0.02  # of the photo's long side: how far a soft rim reaches
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
    (the file's own), plain (key out a plain background), u2netp (needs onnxruntime and the model), grabcut, rembg
    (where it is installed), the path of an .onnx file, or auto: the most believable of the first four.
    options.framing_px, when given, goes before `framing_px`.
    Warnings are sentences in `Subject.warnings`. Raises NothingFoundError when no object can be told from the
    background, PhotoError when the mask does not fit, UsageError when the remover cannot do what was asked.
    """
    warnings = list(photo.warnings)
    rgb = np.ascontiguousarray(photo.rgba[..., :3])
    if mask is not None:
        remover, alpha = "mask", _right_way_round(_fitted(mask, photo), f"{photo.name}: the mask", warnings)
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
        turned = abs(mask.shape[0] * height / (mask.shape[1] * width) - 1) < 0.02
        how = "draw it on the photo itself" + ", which its EXIF mark turns: save it upright first" * turned
        raise PhotoError(f"{photo.name}: the mask has another aspect ratio ({found}); {how}")
    if mask.shape != (height, width):
        mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return mask.astype(np.float32) / 255


def _remove(
    photo: Photo, rgb: UInt8[np.ndarray, "H W 3"], remover: str, warnings: list[str]
) -> tuple[str, Float32[np.ndarray, "H W"]]:
    """(what was used, alpha)."""
    if remover not in REMOVERS and not remover.endswith(model.ENDING):
        raise UsageError(f"remover {remover!r}: one of {', '.join(REMOVERS)}, or an .onnx file")
    if remover == "alpha" and not photo.has_alpha:
        raise UsageError(f"{photo.name} has no transparent background; choose another remover or give --mask FILE")
    if photo.has_alpha and remover in ("auto", "alpha"):
        alpha = _right_way_round(
            photo.rgba[..., 3].astype(np.float32) / 255, f"{photo.name}: its transparency", warnings
        )
        if remover == "alpha" or not choice.is_whole_picture(alpha):
            return "alpha", alpha
        return _inside_of(photo, alpha, warnings)
    if photo.has_alpha:  # another remover was asked for: what is transparent shows white
        cover = photo.rgba[..., 3:].astype(np.float32) / 255
        rgb = (rgb * cover + 255 * (1 - cover) + 0.5).astype(np.uint8)
    scale = min(1.0, WORK_SIDE / max(rgb.shape[:2]))
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
    file = model.model_for(remover)
    if remover in ("auto", "plain"):
        key = keying.key_plain(small)
        if key is not None:
            used, alpha = _judged(key, small, file, remover, photo.name, warnings)
            return used, alpha if scale == 1 else _sharpened(edges.follow_edges(rgb, alpha, 3))
        if remover == "plain":
            raise UsageError(f"{photo.name}: the background is not plain; use --remover auto or give --mask FILE")
    if file is not None and remover not in ("plain", "grabcut"):
        return file.name, _sharpened(edges.follow_edges(rgb, _by_saliency(small, file, photo.name), 6))
    if remover == "u2netp":
        raise UsageError(f"the remover u2netp is not installed; {model.RECIPE}")
    if remover == "auto":
        warnings.append("the background was removed by colour alone (GrabCut); the extra `matting` does it better")
    return "grabcut", _by_colour(rgb, small, photo.name)


def _right_way_round(alpha: Float32[np.ndarray, "H W"], what: str, warnings: list[str]) -> Float32[np.ndarray, "H W"]:
    """An alpha that covers the border and leaves out the middle, the other way round."""
    if not choice.is_inverted(alpha):
        return alpha
    warnings.append(f"{what} covers the background and not the object: taken the other way round")
    return 1 - alpha


def _inside_of(
    photo: Photo, alpha: Float32[np.ndarray, "H W"], warnings: list[str]
) -> tuple[str, Float32[np.ndarray, "H W"]]:
    """The object in a picture of which only corners or a rim are transparent; the picture as it is where nothing else
    can be found in it."""
    rgb = np.ascontiguousarray(photo.rgba[..., :3][keying.nearest(alpha >= 0.5)])
    opaque = Photo(np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]), False, photo.name)
    said: list[str] = []
    try:
        used, found = _remove(opaque, rgb, "auto", said)
        if not 0 < (found >= 0.5).mean() < choice.WHOLE:
            return "alpha", alpha
    except NothingFoundError:
        return "alpha", alpha
    warnings += [
        *said,
        f"{photo.name}: its transparency leaves out no background: cut out anew (--remover alpha keeps it)",
    ]
    return used, np.minimum(found, alpha)


def _judged(
    key: keying.Key, small: np.ndarray, file: model.Model | None, remover: str, name: str, warnings: list[str]
) -> tuple[str, Float32[np.ndarray, "H W"]]:
    """The keyed cut-out where it is believable, else the better of what else there is, with a word of doubt."""
    alpha, saliency = key.alpha, None
    if file is not None and (remover == "auto" or key.doubt.sum() > DOUBT * alpha.sum()):
        saliency, surest = model.saliency(small, file)
        if key.doubt.sum() > DOUBT * alpha.sum():
            alpha = keying.without_shadows(key, saliency > 0.5)
        saliency = saliency if surest >= UNSURE else None
    if remover == "plain":
        return "plain", alpha
    solid = alpha >= 0.5
    if file is None or saliency is None:
        return "plain", _mended(alpha, small, name, warnings)
    if not solid.any() or choice.overlap(solid, saliency > 0.5) >= choice.AGREE:
        return "plain", alpha
    cut = _by_saliency(small, file, name)
    if choice.overlap(solid, cut >= 0.5) >= choice.AGREE:
        return "plain", alpha
    doubt = "the cut-out is in doubt: {}; --remover plain and --remover grabcut give others, --mask FILE your own"
    if choice.is_part(solid, saliency > 0.5):  # the object has the background's own colour: colours cannot tell
        warnings.append(f"{name}: " + doubt.format("parts of the object look like the background"))
        return file.name, _sharpened(np.maximum(choice.with_outlines_filled(alpha), saliency))
    warnings.append(f"{name}: " + doubt.format(f"{file.name} sees another object than the background shows"))
    return file.name, _sharpened(edges.follow_edges(small, cut, 6))


def _mended(
    alpha: Float32[np.ndarray, "H W"], small: np.ndarray, name: str, warnings: list[str]
) -> Float32[np.ndarray, "H W"]:
    """A keyed cut-out by its shape alone: a picture in a frame is looked into, drawn outlines are filled."""
    ways = "--mask FILE gives your own; the extra `matting` sees more"
    box = choice.rectangle(alpha)
    if box is not None:
        margin = max(2, round(0.01 * max(small.shape[:2])))
        inner = tuple(slice(s.start + margin, s.stop - margin) for s in box)
        key = keying.key_plain(np.ascontiguousarray(small[inner])) if min(small[inner].shape[:2]) > 64 else None
        if key is not None and choice.rectangle(key.alpha) is None and (key.alpha >= 0.5).mean() > SPECK:
            warnings.append(f"{name}: the cut-out is in doubt: a frame round the picture was left out; {ways}")
            inside = np.zeros_like(alpha)
            inside[inner] = key.alpha
            return inside
    filled = choice.with_outlines_filled(alpha)
    if choice.overlap(filled >= 0.5, alpha >= 0.5) < choice.AGREE:
        warnings.append(f"{name}: the cut-out is in doubt: outlines were filled, as of a drawing; {ways}")
        return filled
    if choice.is_strokes(alpha):
        warnings.append(f"{name}: the cut-out is in doubt: it is hardly more than lines; {ways}")
    return alpha


def _by_saliency(small: np.ndarray, file: model.Model, name: str) -> Float32[np.ndarray, "h w"]:
    """The network on the whole, then on the object's surroundings, where its few px go farther; colours decide what it
    leaves open.
    """
    whole, surest = model.saliency(small, file)
    if surest < UNSURE:
        raise NothingFoundError(f"{name}: no object stands out; move closer, or give --mask FILE")
    near = whole
    rows, columns = np.flatnonzero((whole > 0.5).any(1)), np.flatnonzero((whole > 0.5).any(0))
    margin = 0.15 * max(np.ptp(rows), np.ptp(columns)) + 8
    top, bottom = (int(n) for n in np.clip([rows[0] - margin, rows[-1] + margin], 0, small.shape[0]))
    left, right = (int(n) for n in np.clip([columns[0] - margin, columns[-1] + margin], 0, small.shape[1]))
    if (bottom - top) * (right - left) < 0.7 * whole.size:
        near = np.zeros_like(whole)
        near[top:bottom, left:right], _ = model.saliency(np.ascontiguousarray(small[top:bottom, left:right]), file)
    guess = (whole + near) / 2
    labels = np.full(guess.shape, edges.MAYBE_BACKGROUND, np.uint8)
    labels[guess > 0.5] = edges.MAYBE_OBJECT
    labels[guess > 0.95] = edges.OBJECT
    labels[guess < 0.05] = edges.BACKGROUND
    return edges.grab_cut(small, labels, 3)  # where the network is of two minds it leaves a veil; colours decide


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
    far = _far_pieces(label, count, main) if count < 400 else []
    others = [i for i in far if area[i - 1] >= 0.1 * area.max()]
    if others and drawn:
        warnings.append(f"{name} shows {1 + len(others)} separate objects; they become one mesh")
    elif others:
        warnings.append(f"{name} shows {1 + len(others)} separate objects; the largest is used (--mask FILE chooses)")
    specks = [i for i in range(1, count) if area[i - 1] < SPECK * area.max()]
    dropped = specks if drawn else sorted({*specks, *far})
    kept = np.isin(label, [i for i in range(1, count) if i not in set(dropped)])
    # what is faint belongs to the object's rim or to nobody: a trace along the photo's edge must not frame it
    rim = 2 * max(3, round(RIM * max(alpha.shape))) + 1
    reach = cv2.dilate(kept.astype(np.uint8), np.ones((7, 7) if dropped else (rim, rim), np.uint8)).astype(bool)
    return np.where(reach & ~np.isin(label, dropped), alpha, 0).astype(np.float32)


def _far_pieces(label: np.ndarray, count: int, main: int) -> list[int]:
    """Pieces that no chain of short gaps joins to the main one."""
    reach, left, grown = FAR * max(label.shape), set(range(1, count)) - {main}, label == main
    while left:
        gap = cv2.distanceTransform((~grown).astype(np.uint8), cv2.DIST_L2, 3)
        near = {i for i in left if gap[label == i].min() <= reach}
        if not near:
            break
        left -= near
        grown |= np.isin(label, list(near))
    return sorted(left)


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
