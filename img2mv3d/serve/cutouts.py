"""Candidates of a photo's cut-out, on a small copy, for a person to choose from and to correct."""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from img2mv3d.errors import Img2mv3dError
from img2mv3d.flow.context import StageContext
from img2mv3d.flow.graph import GRAPH, imported
from img2mv3d.matting.model import find_model
from img2mv3d.plans import PrepareOptions
from img2mv3d.readers.photos import read_photo

SIDE = 1280  # px of the copy's long side: at most 1.7 megapixels, which every phone's canvas holds
ALIKE = 0.995  # IoU from which on two cut-outs are one
FRAMING_PX = 192  # of 256; the frame is not looked at


def candidates(path: Path) -> dict[str, Any]:
    """What the page shows: the upright copy (`preview`, a data URL, width, height in px) and the cut-outs, the one that
    `auto` takes first: remover (the one that was used), option (what a post says to get this one), mask (a data URL of
    a grey PNG, white is object), warnings. Raises PhotoError."""
    photo = read_photo(path)
    small = Image.fromarray(photo.rgba)
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    found: list[tuple[str, str, np.ndarray, tuple[str, ...]]] = []
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "photo"
        small.save(copy, format="PNG", compress_level=1)
        for remover in _removers(photo.has_alpha):
            try:
                name, alpha, warnings = _cut(copy, remover)
            except Img2mv3dError as error:
                problems.append(" ".join(str(error).split()).replace(f"{place}/", ""))
                continue
            if all(_iou(alpha, other) < ALIKE for _, _, other, _ in found):
                found.append((name, remover, alpha, warnings))
    ground = Image.new("RGBA", small.size, "white")
    ground.alpha_composite(small)
    return {
        "width": small.width,
        "height": small.height,
        "preview": _address(ground.convert("RGB"), "JPEG", quality=88),
        "candidates": [
            {
                "remover": name,
                "option": option,
                "mask": _address(Image.fromarray(alpha), "PNG"),
                "warnings": list(warnings),
            }
            for name, option, alpha, warnings in found
        ],
        "problem": "" if found else problems[0],
    }


def _removers(has_alpha: bool) -> tuple[str, ...]:
    network = ("u2netp",) if find_model() is not None else ()
    return ("auto", *(("alpha",) if has_alpha else ()), *network, "plain", "grabcut")


def _cut(photo: Path, remover: str) -> tuple[str, np.ndarray, tuple[str, ...]]:
    """The remover that was used, alpha uint8 [H, W], warnings."""
    context = StageContext("prepare", options=PrepareOptions(remover, FRAMING_PX))
    subject = imported(GRAPH["prepare"].run)(context, photo=photo, mask=None, matting=None)
    return subject.remover, np.ascontiguousarray(subject.full[..., 3]), subject.warnings


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of two masks, uint8 [H, W]."""
    a, b = a > 127, b > 127
    return float((a & b).sum() / max((a | b).sum(), 1))


def _address(picture: Image.Image, format: str, **more: Any) -> str:
    sink = io.BytesIO()
    picture.save(sink, format=format, **more)
    return f"data:image/{format.lower()};base64,{base64.b64encode(sink.getvalue()).decode()}"
