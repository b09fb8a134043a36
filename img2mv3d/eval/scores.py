"""The metrics of the tables: views against the truth, views against each other, surfaces against the truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from img2mv3d.conventions import FRONT, IMAGE_SIZE
from img2mv3d.errors import UsageError
from img2mv3d.eval.comparison import NOTHING, Case, Mesh, Metric, Result
from img2mv3d.eval.learned_matches import available, learned_matches
from img2mv3d.eval.metrics import edge_sharpness, normal_angles, sift_matches, ssim, summed
from img2mv3d.eval.surface import centre_size, surface_score, visible_points, volume_iou
from img2mv3d.geometry.agreement import reprojection_error
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.similarity import LEVEL_DB, mask_iou, psnr
from img2mv3d.mesh.fidelity import silhouette_iou
from img2mv3d.mesh.raster import rasterise

TrueMesh = tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, "G 3"]]  # of another size than the `Mesh` beside it
NEAR_DEG = 45.0  # views further apart share too little for matches
GROUPS = {"psnr_45": (1, 5), "psnr_90": (2, 4), "psnr_back": (3,)}  # views of `SIX_VIEWS` by their angle to the front
FRACTIONS = {"f_02": 0.02, "f_05": 0.05, "f_10": 0.1}  # of the truth's box diagonal
FILLS = 1.9  # world units: the true box's diagonal in `file_figures`, so that no view loses a part
DEPTH = 2  # world axis along which a surface may be shifted before it is judged: the front camera's
SHIFTS, SHIFT_POINTS = 33, 4000  # tried, within a quarter of the diagonal; points that are compared for each


def view_figures(case: Case, result: Result) -> Mapping[str, float]:
    """Against the true views, mean over all but the front where nothing else is said; none for another rig.

    psnr: dB, whole pictures over white. psnr_mask: inside the true mask, as psnr_front, _45, _90, _back.
    ssim, features: of whole pictures; the distance by EfficientNet-Lite0, NaN without its package.
    iou: of silhouettes. normal_deg: median angle. sharpness: gradient inside the masks over the truth's, all views.
    """
    views, truth = result.views, case.truth
    if views is None or views.rig != SIX_VIEWS:
        return {}
    shown = result.colors
    hit = (truth.mask >= 0.5).astype(np.float32)
    inside = {i: min(psnr(shown[i], truth.color[i], hit[i]), LEVEL_DB) for i in range(len(hit)) if hit[i].any()}
    others = [i for i in inside if i != FRONT]
    figures = {
        "psnr": mean([min(psnr(shown[i], truth.color[i]), LEVEL_DB) for i in others]),
        "psnr_mask": mean([inside[i] for i in others]),
        "psnr_front": inside.get(FRONT, NOTHING),
        **{name: mean([inside[i] for i in group if i in inside]) for name, group in GROUPS.items()},
        "ssim": mean([ssim(shown[i], truth.color[i]) for i in others]),
        "features": mean([_feature_distance(shown[i], truth.color[i]) for i in others]),
        "iou": mean([mask_iou(views.mask[i], truth.mask[i]) for i in others]),
        "sharpness": _sharpness(shown, hit) / max(_sharpness(truth.color, hit), 1e-6),
    }
    if views.normal is not None and truth.normal is not None:
        angles = [normal_angles(views.normal[i], truth.normal[i], hit[i]) for i in others]
        figures["normal_deg"] = mean([float(np.median(a)) for a in angles if len(a)])
    return figures


def consistency_figures(case: Case, result: Result) -> Mapping[str, float]:
    """Of neighbouring views, by the true depth; none for another rig.

    reprojection: colour difference at points that both see, less that of the true views.
    matches, inliers: SIFT matches up to NEAR_DEG apart, those on the true surface; inliers_beside: without the front.
    lg_matches, lg_inliers: the same by XFeat and LighterGlue; NaN without their package.
    """
    if result.views is None or result.views.rig != SIX_VIEWS:
        return {}
    hit = (case.truth.mask >= 0.5).astype(np.float32)
    floor = reprojection_error(case.truth.color, case.z, hit, SIX_VIEWS)
    by_pair = sift_matches(result.colors, case.z, hit, SIX_VIEWS, NEAR_DEG)
    near, beside = summed(by_pair), summed({pair: m for pair, m in by_pair.items() if FRONT not in pair})
    learned = {"lg_inliers": NOTHING, "lg_matches": NOTHING}
    if available():
        found = summed(learned_matches(result.colors, case.z, hit, SIX_VIEWS, NEAR_DEG))
        learned = {"lg_inliers": float(found.inliers), "lg_matches": float(found.total)}
    return {
        "reprojection": reprojection_error(result.colors, case.z, hit, SIX_VIEWS) - floor,
        "inliers": float(near.inliers),
        "inliers_beside": float(beside.inliers),
        "matches": float(near.total),
        **learned,
    }


VIEWS = Metric(
    ("psnr", "psnr_mask", "psnr_front", *GROUPS, "ssim", "features", "iou", "normal_deg", "sharpness"), view_figures
)
CONSISTENCY = Metric(
    ("reprojection", "inliers", "inliers_beside", "matches", "lg_inliers", "lg_matches"), consistency_figures
)


def shape_figures(case: Case, predicted: Mesh, shift: bool) -> Mapping[str, float]:
    """Figures of a surface in the case's world against the true one: F-scores over visible points at 2, 5 and 10 % of
    the true box's diagonal, Chamfer distance (of the diagonal, at most 1), volume IoU, IoU of outlines.

    shift: whether it may first be moved along the photo's line of sight, which no single photo tells.
    """
    assert case.mesh is not None
    return _shape_figures(predicted, case.mesh, case.truth.mask, case.truth.rig, shift)


def file_figures(predicted: Mesh, truth: TrueMesh, shift: bool) -> Mapping[str, float]:
    """The same of any two meshes as they lie in one frame, +Y up and the front to +Z; outlines are those that the six
    cameras see once the true one fills their pictures."""
    centre, size = centre_size(truth[0])
    predicted, truth = (((vertices - centre) * (FILLS / size), faces) for vertices, faces in (predicted, truth))
    seen = [rasterise(*truth, camera).face >= 0 for camera in SIX_VIEWS.cameras(IMAGE_SIZE)]
    return _shape_figures(predicted, truth, np.stack(seen).astype(np.float32), SIX_VIEWS, shift)


def _shape_figures(
    predicted: Mesh, true_mesh: TrueMesh, mask: Float[np.ndarray, "V H W"], rig: Rig, shift: bool
) -> Mapping[str, float]:
    truth = visible_points(*true_mesh, np.random.default_rng(1))
    own = visible_points(*predicted, np.random.default_rng(2))
    if shift and len(own):
        offset = np.zeros(3)
        offset[DEPTH] = depth_shift(own, truth)
        own, predicted = own + offset, (predicted[0] + offset, predicted[1])
    score = surface_score(own, truth, tuple(FRACTIONS.values()))
    return {
        **{name: score.f_score[fraction] for name, fraction in FRACTIONS.items()},
        "chamfer": min(score.chamfer, 1.0),
        "volume_iou": volume_iou(predicted, true_mesh),
        "outline_iou": float(silhouette_iou(*predicted, mask, rig).mean()),
    }


def depth_shift(predicted: Float[np.ndarray, "P 3"], truth: Float[np.ndarray, "Q 3"]) -> float:
    """The move along DEPTH that brings the predicted points nearest to the true ones, by Chamfer distance."""
    predicted, truth = predicted[:: len(predicted) // SHIFT_POINTS + 1], truth[:: len(truth) // SHIFT_POINTS + 1]
    best = float(np.median(truth[:, DEPTH]) - np.median(predicted[:, DEPTH]))
    reach = float(np.linalg.norm(np.ptp(truth, axis=0))) / 4
    axis = np.eye(3)[DEPTH]
    for _ in range(2):  # the second time round the best, finer
        steps = best + np.linspace(-reach, reach, SHIFTS)
        best = float(min(steps, key=lambda step: surface_score(predicted + step * axis, truth).chamfer))
        reach *= 2 / (SHIFTS - 1)
    return best


def _feature_distance(picture: Float[np.ndarray, "H W 3"], truth: Float[np.ndarray, "H W 3"]) -> float:
    import torch

    from img2mv3d.nets.features import feature_distance, features

    try:
        net = features()
    except UsageError:
        return NOTHING
    both = torch.from_numpy(np.stack([picture, truth]).transpose(0, 3, 1, 2).astype(np.float32).copy())
    with torch.inference_mode():
        return float(feature_distance(both[:1], both[1:], net))


def _sharpness(pictures: Float[np.ndarray, "V H W 3"], hit: Float[np.ndarray, "V H W"]) -> float:
    return sum(edge_sharpness(picture, mask) for picture, mask in zip(pictures, hit, strict=True))


def mean(values: list[float]) -> float:
    """Their mean; NaN of none."""
    return float(np.mean(values)) if values else NOTHING
