"""What a bundle makes of one photo, against the truth and against cheap tricks: views, silhouettes, surface.

In: held-out meshes, a bundle, rendered training sets (for the tricks). Out: `Record` per object and arm, a table.
Why here: a generator is worth running only when it beats the photo copied to all sides, the nearest thing it was shown,
and the average of all of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from img2mv3d.bundles.weights import Bundle, load_bundle
from img2mv3d.conventions import FRONT
from img2mv3d.data.augment import photograph
from img2mv3d.data.corpus import Solid, load_solid
from img2mv3d.data.renders import RenderSet
from img2mv3d.data.scene import place, random_light, random_pose, shoot
from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.exact import untouched
from img2mv3d.eval.metrics import mask_iou, normal_angle, psnr, ssim
from img2mv3d.eval.surface import surface_score, visible_points
from img2mv3d.files.formats import decode_normals, encode_normals, to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.mesh.extract import isosurface
from img2mv3d.nets.generator import GeneratorNets
from img2mv3d.neus.fit import QUICK, fit
from img2mv3d.plans import DecodeOptions, DepthOptions, GenerateOptions
from img2mv3d.stages.decode import decode
from img2mv3d.stages.depth import fit_depth, plain_views
from img2mv3d.stages.generate import generate
from img2mv3d.values import Latents, Subject, Views

FRACTIONS = (0.02, 0.05, 0.1)  # of the truth's box diagonal
THUMB = 64  # px to which front views are shrunk to find the nearest
BACK = SIX_VIEWS.names.index("back")


@dataclass(frozen=True)
class Record:
    """One arm on one object; means over the five views that the photo does not show. psnr: inside the true mask, dB,
    over white. ssim: whole picture. iou: of the masks. normal_deg: median angle over the pixels for which the truth and
    every compared arm with normals have one (an arm that only covers the middle would have the easy ones), NaN without.
    f_02, f_05, f_10: F-scores of the quick fit at 2, 5, 10 % of the box diagonal; chamfer: of the diagonal.
    """

    id: str
    arm: str
    psnr: float
    ssim: float
    iou: float
    normal_deg: float
    f_02: float
    f_05: float
    f_10: float
    chamfer: float


@dataclass(frozen=True, eq=False)
class Case:
    """A photo and its truth. photo: uint8 RGBA, framed. views: exact. z: world units, 0 outside. points: of
    the visible true surface, world."""

    id: str
    photo: UInt8[np.ndarray, "H W 4"]
    views: Views
    z: Float[np.ndarray, "V H W"]
    points: Float[np.ndarray, "P 3"]


def case_of(name: str, solid: Solid, framing_px: int, seed: int = 0) -> Case:
    """One random pose and light of an object, photographed as users do."""
    rng = np.random.default_rng(seed)
    pose, light = random_pose(rng), random_light(rng)
    shots = shoot(solid, pose, framing_px, light, rng)
    mask = to_bytes(shots.mask).astype(np.float32) / 255
    normal = decode_normals(encode_normals(shots.normal, shots.mask), mask)
    placed, _ = place(solid.vertices, pose, framing_px)
    points = visible_points(placed, solid.faces, np.random.default_rng(1))
    photo = photograph(shots.color[FRONT], shots.mask[FRONT], rng)
    return Case(name, photo, Views(shots.color, normal, mask, SIX_VIEWS), shots.z, points)


Arm = Callable[[UInt8[np.ndarray, "H W 4"]], Views]


def generated(bundle: Bundle, seed: int = 0) -> Arm:
    """The bundle at its own settings, as `run` makes its views: plainly decoded, fitted, decoded across views."""
    nets, plain, across = bundle.generator(), bundle.plain_decoder(), bundle.crossview_decoder()

    def make(photo: np.ndarray) -> Views:
        latents = latents_of(photo, nets, bundle.framing_px, seed)
        prior = bundle.revolution_prior(latents)
        depth = fit_depth(plain_views(latents, decoder=plain, revolution_prior=prior), options=DepthOptions())
        return decode(latents, depth, decoder=across, options=DecodeOptions())

    return make


def latents_of(photo: UInt8[np.ndarray, "H W 4"], nets: GeneratorNets, framing_px: int, seed: int = 0) -> Latents:
    """What a generator makes of a framed photo, at its own settings."""
    subject = Subject(photo, photo, Framing((1.0, 1.0), (0.0, 0.0), framing_px))
    rng = torch.Generator().manual_seed(seed)
    return generate(subject, generator=nets, options=GenerateOptions(), rng=rng, seed=seed)


def copied(photo: UInt8[np.ndarray, "H W 4"]) -> Views:
    """The photo on all sides, mirrored at the back, where its outline is the true one. No normals."""
    color, alpha = _over_white(photo)
    colors, masks = np.stack([color] * len(SIX_VIEWS)), np.stack([alpha] * len(SIX_VIEWS))
    colors[BACK], masks[BACK] = color[:, ::-1], alpha[:, ::-1]
    return Views(colors, None, masks, SIX_VIEWS)


def nearest(sets: RenderSet, names: Sequence[str]) -> Arm:
    """The views of the training set whose front view looks most like the photo (least squares, RGB and alpha)."""
    fronts = np.stack([_thumb(sets.load(name).photo) for name in names])

    def make(photo: np.ndarray) -> Views:
        found = ((fronts - _thumb(photo)) ** 2).sum(axis=(1, 2, 3)).argmin()
        return _views_of(sets, names[int(found)])

    return make


def average(sets: RenderSet, names: Sequence[str]) -> Arm:
    """The mean of all training views, the same for every photo."""
    total: list[np.ndarray] = []
    for name in names:
        views = _views_of(sets, name)
        assert views.normal is not None
        parts = [views.color.astype(np.float64), views.normal.astype(np.float64), views.mask.astype(np.float64)]
        total = [a + b for a, b in zip(total, parts, strict=True)] if total else parts
    color, normal, mask = (part / max(len(names), 1) for part in total)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = np.where(mask[..., None] >= 0.5, normal / np.maximum(length, 1e-6), 0)
    mean = Views(*(p.astype(np.float32) for p in (color, normal, mask)), SIX_VIEWS)
    return lambda photo: mean


def measure(case: Case, arm: str, views: Views, comparable: Float[np.ndarray, "V H W"] | None = None) -> Record:
    """The figures of one arm; a surface that cannot be fitted scores zero. comparable: `comparable_normals` of all
    arms; None: this one's own."""
    unseen = [i for i in range(len(SIX_VIEWS)) if i != FRONT]
    truth = case.views
    assert truth.normal is not None
    angle = float("nan")
    if views.normal is not None:
        use = comparable_normals(case, [views]) if comparable is None else comparable
        angle = float(np.mean([normal_angle(views.normal[i], truth.normal[i], use[i]).median for i in unseen]))
    scores = surface_score(_points(views), case.points, FRACTIONS)
    return Record(
        case.id,
        arm,
        float(np.mean([psnr(views.color[i], truth.color[i], truth.mask[i]) for i in unseen if truth.mask[i].any()])),
        float(np.mean([ssim(views.color[i], truth.color[i]) for i in unseen])),
        float(np.mean([mask_iou(views.mask[i], truth.mask[i]) for i in unseen])),
        angle,
        *(scores.f_score[f] for f in FRACTIONS),
        min(scores.chamfer, 1.0),
    )


def comparable_normals(case: Case, arms: Sequence[Views]) -> Float[np.ndarray, "V H W"]:
    """1 where the truth and every arm that has normals at all have one, else 0."""
    use = case.views.mask >= 0.5
    for views in arms:
        if views.normal is not None:
            use &= (views.mask >= 0.5) & (np.linalg.norm(views.normal, axis=-1) > 0.1)
    return use.astype(np.float32)


def table(records: Sequence[Record]) -> str:
    """Mean / median by arm as Markdown, and the first arm against each other one, paired, with 95 % intervals."""
    arms: dict[str, dict[str, Record]] = {}
    for record in records:
        arms.setdefault(record.arm, {})[record.id] = record
    names = [f.name for f in fields(Record)][2:]
    lines = [f"| arm | objects | {' | '.join(names)} |", "|" + "---|" * (len(names) + 2)]
    for arm, rows in arms.items():
        cells = [_cell([getattr(r, n) for r in rows.values()]) for n in names]
        lines.append(f"| {arm} | {len(rows)} | {' | '.join(cells)} |")
    first, *others = arms
    for other in others:
        gains = []
        for name in names:
            pairs = [(getattr(arms[first][i], name), getattr(r, name)) for i, r in arms[other].items()]
            difference = np.array([a - b for a, b in pairs])
            if np.isfinite(difference).all() and len(difference) > 1:
                half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
                gains.append(f"{name} {difference.mean():+.3f} +- {half:.3f}")
        lines.append(f"\n{first} - {other}, paired: {', '.join(gains)}")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """python -m img2mv3d.eval.generated MESHES DATA --bundle mini --count 30 -o FOLDER"""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", default="mini")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("-o", "--out", type=Path, default=Path("generated"))
    given = parser.parse_args(arguments)
    bundle, sets = load_bundle(given.bundle), RenderSet(given.data)
    names = sets.names("train")
    arms: dict[str, Arm] = {
        bundle.name: generated(bundle),
        "photo copied": copied,
        "nearest training object": nearest(sets, names),
        "average of training": average(sets, names),
    }
    records: list[Record] = []
    given.out.mkdir(parents=True, exist_ok=True)
    for entry in untouched(given.meshes, given.count):
        case = case_of(entry.id, load_solid(given.meshes / "objects" / f"{entry.id}.npz"), bundle.framing_px)
        made = {arm: make(case.photo) for arm, make in arms.items()}
        comparable = comparable_normals(case, list(made.values()))
        records += [measure(case, arm, views, comparable) for arm, views in made.items()]
        (given.out / "generated.json").write_text(json.dumps([asdict(r) for r in records], indent=1))
        (given.out / "generated.md").write_text(table(records))
    print(table(records))


def _points(views: Views) -> Float[np.ndarray, "P 3"]:
    normal = np.zeros((*views.mask.shape, 3), np.float32) if views.normal is None else views.normal
    try:
        found = fit(normal, views.mask, views.rig, QUICK)
    except NothingFoundError:
        return np.zeros((0, 3))
    return visible_points(*isosurface(found.sdf), np.random.default_rng(2))


def _views_of(sets: RenderSet, name: str) -> Views:
    sample = sets.load(name)
    mask = sample.mask.astype(np.float32) / 255
    return Views(sample.color.astype(np.float32) / 255, decode_normals(sample.normal, mask), mask, SIX_VIEWS)


def _over_white(photo: UInt8[np.ndarray, "H W 4"]) -> tuple[Any, Any]:
    alpha = photo[..., 3].astype(np.float32) / 255
    return photo[..., :3].astype(np.float32) / 255 * alpha[..., None] + 1 - alpha[..., None], alpha


def _thumb(photo: UInt8[np.ndarray, "H W 4"]) -> Float[np.ndarray, "h w 4"]:
    color, alpha = _over_white(photo)
    return cv2.resize(np.concatenate([color, alpha[..., None]], -1), (THUMB, THUMB), interpolation=cv2.INTER_AREA)


def _cell(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} / {np.median(values):.3f}"


if __name__ == "__main__":
    main()
