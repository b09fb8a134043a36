"""Decoders compared where no truth can be had: every arm is judged by the surface that its own views make.

In: rendered sets (their photos), a bundle, decoders. Out: `Record` values, a table. Why here: a generator invents what
the photo does not show; true depth says nothing about that, agreement does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from img2mv3d.bundles.weights import Bundle, load_bundle
from img2mv3d.data.corpus import load_solid
from img2mv3d.data.renders import RenderSet, Sample, world_vertices
from img2mv3d.eval.arms import Arm, arms_of, named, normals_of, own_views, still_true, true_arm
from img2mv3d.eval.cases import Case, cases, held_out, only, seed_of
from img2mv3d.eval.consistency import NEAR_DEG, table
from img2mv3d.eval.generated import latents_of
from img2mv3d.eval.metrics import depth_warp_error, sift_matches
from img2mv3d.eval.rerendered import Fits, Rerendered, rerender_score
from img2mv3d.eval.surface import surface_score, visible_points
from img2mv3d.files.formats import decode_normals
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.mesh.extract import isosurface
from img2mv3d.neus.fit import FINAL, QUICK
from img2mv3d.neus.render import render_views
from img2mv3d.plans import DepthOptions
from img2mv3d.stages.depth import fit_depth, plain_views
from img2mv3d.train.multiview import MultiViewNets
from img2mv3d.values import Views

SETTINGS = ("spoilt", "generated")
FRACTIONS = (0.02, 0.05)  # of the truth's box diagonal
NOTHING = float("nan")


@dataclass(frozen=True)
class Record:
    """One object in one setting by one arm. warp: colour disagreement of neighbours by the depth of a quick fit to the
    arm's own views, nothing taken off. epipolar, agreeing, matches: SIFT matches between views up to NEAR_DEG apart:
    on the epipolar line, which needs no depth; of those, on the surface of that fit; in all. re_psnr (dB), re_ssim,
    re_iou: `Rerendered` of the final fit, NaN when it was not asked for. f_02, f_05: F-scores of the final surface at 2
    and 5 % of the true one's box diagonal, NaN without meshes.
    """

    id: str
    setting: str
    arm: str
    warp: float
    epipolar: float
    agreeing: float
    matches: float
    re_psnr: float = NOTHING
    re_ssim: float = NOTHING
    re_iou: float = NOTHING
    f_02: float = NOTHING
    f_05: float = NOTHING


def generated_case(bundle: Bundle, name: str, sample: Sample) -> Case:
    """What the bundle's own generator makes of the set's photo, and the depth of a quick fit to its plain views. The
    truth is there for the floor alone: what was generated is something else."""
    latents = latents_of(sample.photo, bundle.generator(), sample.framing_px, seed_of(name))
    prior = bundle.revolution_prior(latents)
    plain = plain_views(latents, decoder=bundle.plain_decoder(), revolution_prior=prior)
    depth = fit_depth(plain, options=DepthOptions())
    mask = sample.mask.astype(np.float32) / 255
    fitted = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (depth.z, depth.hit))
    front = torch.from_numpy(sample.photo.astype(np.float32) / 255).movedim(-1, 0)
    truth = (sample.color.astype(np.float32) / 255, sample.z.astype(np.float32) * (mask >= 0.5), mask)
    color, normal = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (latents.color, latents.normal))
    return Case(name, "generated", color, *fitted, front, *truth, normals=normal, round_share=prior)


def true_views(sample: Sample) -> Views:
    """The set itself."""
    mask = sample.mask.astype(np.float32) / 255
    return Views(sample.color.astype(np.float32) / 255, decode_normals(sample.normal, mask), mask, SIX_VIEWS)


def measure(
    name: str,
    setting: str,
    arm: str,
    views: Views,
    fits: Fits,
    rerender: bool = False,
    points: Float[np.ndarray, "P 3"] | None = None,
) -> Record:
    """The figures of one arm. points: of the visible true surface, world. Views that no surface can be fitted to
    disagree by 1 and have no matches."""
    quick = fits(views, QUICK)
    warp, near = 1.0, (0, 0, 0)
    if quick is not None:
        seen = render_views(quick, views.rig, views.mask.shape[1])
        warp = depth_warp_error(views.color, seen.z, seen.opacity, views.rig)
        near = sift_matches(views.color, seen.z, seen.opacity, views.rig, NEAR_DEG)
    found = fits(views, FINAL) if rerender else None
    again = rerender_score(views, found) if rerender else Rerendered(NOTHING, NOTHING, NOTHING)
    scores = [NOTHING] * len(FRACTIONS)
    if rerender and points is not None:
        own = np.zeros((0, 3))
        if found is not None:
            own = visible_points(*isosurface(found), np.random.default_rng(2))
        by_share = surface_score(own, points, FRACTIONS).f_score
        scores = [by_share[f] for f in FRACTIONS]
    total, epipolar, agreeing = near
    return Record(name, setting, arm, warp, float(epipolar), float(agreeing), float(total), *again, *scores)


def run(
    bundle: Bundle,
    data: Path,
    arms: Mapping[str, Arm],
    out: Path,
    count: int,
    settings: Sequence[str],
    *,
    rerender: bool = False,
    meshes: Path | None = None,
    report: Callable[[str], None] = print,
    kept: Callable[[str], bool] = lambda arm: True,
) -> list[Record]:
    """All arms on the held-out objects of `consistency.run`, in these of SETTINGS; figures that out/ownfit.json holds
    are kept, of the arms for which `kept` says so. meshes: the corpus that `data` was rendered from with seed 0, for
    F-scores. Writes that file and ownfit.md after every object."""
    path = out / "ownfit.json"
    out.mkdir(parents=True, exist_ok=True)
    records = [Record(**r) for r in json.loads(path.read_text())] if path.exists() else []
    records = [r for r in records if kept(r.arm) and not (rerender and _lacking(r, meshes))]
    done = {(r.id, r.setting, r.arm) for r in records}
    generator = bundle.generator()
    nets = MultiViewNets(generator.unet, generator.condition.tokens).eval()
    plain, sets = bundle.plain_decoder(), RenderSet(data)
    for number, name in enumerate(held_out(sets, count)):
        wanted = [s for s in SETTINGS if s in settings and any((name, s, arm) not in done for arm in arms)]
        if not wanted:
            continue
        sample, fits = sets.load(name), Fits()
        points = None if meshes is None else true_points(meshes, name)
        made = list(only(cases(bundle, nets, name, sample), ["spoilt"])) if "spoilt" in wanted else []
        if "generated" in wanted:
            made.append(generated_case(bundle, name, sample))
        for case in made:
            coded = normals_of(case, plain)
            for arm, make in arms.items():
                if (name, case.setting, arm) in done:
                    continue
                with torch.no_grad():
                    if make is true_arm:
                        views = true_views(sample)
                    else:
                        views = own_views(make(case), coded, case)
                records.append(measure(name, case.setting, arm, views, fits, rerender, points))
        path.write_text(json.dumps([asdict(r) for r in records], indent=1))
        (out / "ownfit.md").write_text(table(records, "plain"))
        report(f"{number + 1} of {count}, by their own fits: {name}")
    return records


def compare(
    name: str,
    data: Path,
    decoders: Sequence[str],
    out: Path,
    count: int,
    settings: Sequence[str],
    *,
    rerender: bool = False,
    meshes: Path | None = None,
    report: Callable[[str], None] = print,
) -> str:
    """The table of `run` for the arms of `arms.arms_of`."""
    bundle = load_bundle(name)
    arms = arms_of(bundle, name, decoders)
    out.mkdir(parents=True, exist_ok=True)
    told = {"rerender": rerender, "meshes": meshes, "report": report}
    kept = still_true(out, bundle, named(name, decoders))
    return table(run(bundle, data, arms, out, count, settings, **told, kept=kept), "plain")


def true_points(meshes: Path, name: str) -> Float[np.ndarray, "P 3"] | None:
    """Points of the visible surface of a set's object, as it stood when it was rendered; None without its mesh."""
    path = _mesh_of(meshes, name)
    if not path.exists():
        return None
    solid = load_solid(path)
    return visible_points(world_vertices(solid, name), solid.faces, np.random.default_rng(1))


def _mesh_of(meshes: Path, name: str) -> Path:
    return meshes / "objects" / f"{name.rsplit('.', 1)[0]}.npz"


def _lacking(record: Record, meshes: Path | None) -> bool:
    """Whether a line was made without what re-rendering and meshes tell."""
    judged = meshes is not None and _mesh_of(meshes, record.id).exists()
    return bool(np.isnan(record.re_psnr) or (judged and np.isnan(record.f_02)))
