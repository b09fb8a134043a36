"""Views of 512 px against the truth: `python -m experiments.decoder.larger CORPORA... --count 12`.

The objects of `dev`, evenly lit, from 20 degrees above at a yaw by their name; the photo has 512 px of the frame. Three
ways to the larger views: those of 256 px enlarged, the draft alone (the photo, warped onto the body), and both
(`decode --resolution 512`). Means, and how far the last is ahead of each with its 95 % interval.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float

from experiments.shape.photos import pose_of
from img2mv3d.bundles.decoders import choose
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.conventions import FRONT, IMAGE_SIZE
from img2mv3d.data.corpus import load_solid
from img2mv3d.data.scene import EVEN_LIGHT, render
from img2mv3d.data.splits import ids
from img2mv3d.eval.comparison import paired
from img2mv3d.eval.methods import Generation
from img2mv3d.eval.objects import front_photo, photographed
from img2mv3d.eval.protocol import FRAMING_PX
from img2mv3d.geometry.framing import Framing
from img2mv3d.geometry.similarity import psnr
from img2mv3d.mesh.enlarge import enlarged, fine_draft, with_finest
from img2mv3d.mesh.likenesses import likenesses
from img2mv3d.mesh.photographs import photo_source
from img2mv3d.nets.features import feature_distance, features
from img2mv3d.plans import DecodeOptions
from img2mv3d.stages.decode import decode

SIZE = 512
FIGURES = ("front, dB", "others, dB", "front, features", "others, features")


def figures(color: Float[np.ndarray, "V H W 3"], truth: Float[np.ndarray, "V H W 3"]) -> list[float]:
    """FIGURES of views over white."""
    whole = np.ones(truth.shape[1:3], np.float32)
    decibels = [psnr(mine, true, whole) for mine, true in zip(color, truth, strict=True)]
    with torch.inference_mode():
        pairs = [torch.from_numpy(np.ascontiguousarray(views)).movedim(-1, 1) for views in (color, truth)]
        apart = [float(feature_distance(a[None], b[None], features())) for a, b in zip(*pairs, strict=True)]
    others = slice(FRONT + 1, None)
    return [decibels[FRONT], float(np.mean(decibels[others])), apart[FRONT], float(np.mean(apart[others]))]


def ways(generation: Generation, name: str, path: Path) -> dict[str, list[float]]:
    """The figures of each way for one object."""
    solid, rng = load_solid(path), np.random.default_rng(0)
    truth = render(solid, pose_of(name), FRAMING_PX, EVEN_LIGHT, rng, SIZE)
    full = front_photo(truth.color, truth.mask)
    framed = cv2.resize(full, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
    case = replace(photographed(name, solid, FRAMING_PX), photo=framed, reframed=None)
    made, body = generation(case), generation.body
    assert made.latents is not None and made.depth is not None and body is not None
    decoder = choose("crossview", generation.bundle).make()
    views = decode(made.latents, made.depth, decoder=decoder, options=DecodeOptions(), body=body)
    rig = views.rig
    half = IMAGE_SIZE / SIZE
    photo = photo_source(full, Framing((half, half), (0.0, 0.0), FRAMING_PX), rig.cameras(IMAGE_SIZE)[FRONT])
    photo, others = likenesses(photo, body)
    fine = fine_draft(body.field, body.far, photo, framed[..., 3].astype(np.float32) / 255, rig, others, SIZE)
    made = {
        "enlarged": enlarged(views.color, SIZE),
        "draft": fine.color,
        "both": with_finest(views.color, fine.color, fine.observed),
    }
    cover = fine.mask[..., None] > 0
    return {way: figures(np.where(cover, color.clip(0, 1), np.float32(1)), truth.color) for way, color in made.items()}


def main(asked: argparse.Namespace) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    generation, rows = Generation(load_bundle(asked.bundle)), dict[str, list[list[float]]]()
    for name in sorted(ids("dev"))[: asked.count]:
        path = next((p for c in asked.corpora if (p := c / "objects" / f"{name}.npz").exists()), None)
        if path is None:
            continue
        for way, found in ways(generation, name, path).items():
            rows.setdefault(way, []).append(found)
        print(name, {way: np.round(found[-1], 3).tolist() for way, found in rows.items()}, flush=True)
    values = {way: np.array(found) for way, found in rows.items()}
    print("| | " + " | ".join(FIGURES) + " |")
    for way, found in values.items():
        print(f"| {way} | " + " | ".join(f"{mean:.3f}" for mean in found.mean(0)) + " |")
    for way in ("enlarged", "draft"):
        gains = (values["both"] - values[way]).T
        print(f"| both less {way} | " + " | ".join(paired(gain) for gain in gains) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--bundle", default="mini")
    parser.add_argument("--count", type=int, default=12)
    main(parser.parse_args())
