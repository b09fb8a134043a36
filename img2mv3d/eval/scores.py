"""The metrics of the tables: views against the truth, views against each other, and the surfaces that they make."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from img2mv3d.conventions import FRONT
from img2mv3d.errors import UsageError
from img2mv3d.eval.blending import Fits, rerendered
from img2mv3d.eval.comparison import NOTHING, Case, Mesh, Metric, Result
from img2mv3d.eval.metrics import edge_sharpness, normal_angles, sift_matches, ssim, summed
from img2mv3d.eval.surface import outline_iou, surface_score, visible_points, volume_iou
from img2mv3d.geometry.agreement import reprojection_error
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.similarity import mask_iou, psnr
from img2mv3d.mesh.extract import isosurface
from img2mv3d.neus.fit import FINAL, QUICK, FitOptions
from img2mv3d.neus.render import render_views

LEVEL_DB = 100.0  # of equal pictures
NEAR_DEG = 45.0  # views further apart share too little for matches
GROUPS = {"psnr_45": (1, 5), "psnr_90": (2, 4), "psnr_back": (3,)}  # views of `SIX_VIEWS` by their angle to the front
OWN = ("own_reprojection", "own_epipolar", "own_inliers", "own_matches")
RERENDERED = ("re_psnr", "re_ssim", "re_iou")
FRACTIONS = {"f_02": 0.02, "f_05": 0.05, "f_10": 0.1}  # of the truth's box diagonal
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
        "psnr": _mean([min(psnr(shown[i], truth.color[i]), LEVEL_DB) for i in others]),
        "psnr_mask": _mean([inside[i] for i in others]),
        "psnr_front": inside.get(FRONT, NOTHING),
        **{name: _mean([inside[i] for i in group if i in inside]) for name, group in GROUPS.items()},
        "ssim": _mean([ssim(shown[i], truth.color[i]) for i in others]),
        "features": _mean([_feature_distance(shown[i], truth.color[i]) for i in others]),
        "iou": _mean([mask_iou(views.mask[i], truth.mask[i]) for i in others]),
        "sharpness": _sharpness(shown, hit) / max(_sharpness(truth.color, hit), 1e-6),
    }
    if views.normal is not None and truth.normal is not None:
        angles = [normal_angles(views.normal[i], truth.normal[i], hit[i]) for i in others]
        figures["normal_deg"] = _mean([float(np.median(a)) for a in angles if len(a)])
    return figures


def consistency_figures(case: Case, result: Result) -> Mapping[str, float]:
    """Of neighbouring views, by the true depth; none for another rig.

    reprojection: colour difference at points that both see, less that of the true views.
    matches, inliers: SIFT matches up to NEAR_DEG apart, those on the true surface; inliers_beside: without the front.
    """
    if result.views is None or result.views.rig != SIX_VIEWS:
        return {}
    hit = (case.truth.mask >= 0.5).astype(np.float32)
    floor = reprojection_error(case.truth.color, case.z, hit, SIX_VIEWS)
    near = sift_matches(result.colors, case.z, hit, SIX_VIEWS, NEAR_DEG)
    return {
        "reprojection": reprojection_error(result.colors, case.z, hit, SIX_VIEWS) - floor,
        "inliers": float(sum(m.inliers for m in near.values())),
        "inliers_beside": float(sum(m.inliers for pair, m in near.items() if FRONT not in pair)),
        "matches": float(sum(m.total for m in near.values())),
    }


VIEWS = Metric(
    ("psnr", "psnr_mask", "psnr_front", *GROUPS, "ssim", "features", "iou", "normal_deg", "sharpness"), view_figures
)
CONSISTENCY = Metric(("reprojection", "inliers", "inliers_beside", "matches"), consistency_figures)


class OwnSurface:
    """Metrics by the surface that a method's own views make: no truth is needed. It keeps the fits of one case."""

    def __init__(self) -> None:
        self._case: Case | None = None
        self._fits = Fits()

    def consistency(self) -> Metric:
        """own_reprojection, own_inliers: as `consistency_figures`, by a coarse fit to the views; own_epipolar: matches
        on the epipolar line, which needs no depth. Views that no surface can be fitted to differ by 1."""
        return Metric(OWN, self._consistency)

    def rerendering(self) -> Metric:
        """The final fit seen again by the views' cameras against the views, means: PSNR inside of their own masks (dB),
        SSIM, IoU of masks. 0 where no surface can be fitted."""
        return Metric(RERENDERED, self._rerendering)

    def _fit(self, case: Case, result: Result, options: FitOptions) -> Float[np.ndarray, "N N N"] | None:
        if case is not self._case:
            self._case, self._fits = case, Fits()
        assert result.views is not None
        return self._fits(result.views, options)

    def _consistency(self, case: Case, result: Result) -> Mapping[str, float]:
        views, field = result.views, self._fit(case, result, QUICK)
        if views is None or field is None:
            return dict(zip(OWN, (1.0, 0.0, 0.0, 0.0), strict=True))
        seen = render_views(field, views.rig, views.mask.shape[1])
        error = reprojection_error(views.color, seen.z, seen.opacity, views.rig)
        near = summed(sift_matches(views.color, seen.z, seen.opacity, views.rig, NEAR_DEG))
        counts = (float(n) for n in (near.epipolar, near.inliers, near.total))
        return dict(zip(OWN, (error, *counts), strict=True))

    def _rerendering(self, case: Case, result: Result) -> Mapping[str, float]:
        views, field = result.views, self._fit(case, result, FINAL)
        if views is None or field is None:
            return dict.fromkeys(RERENDERED, 0.0)
        color, opacity = rerendered(views, field)
        hit = (views.mask >= 0.5).astype(np.float32)
        shown = [i for i in range(len(hit)) if hit[i].any()]
        decibels = _mean([min(psnr(color[i], views.color[i], hit[i]), LEVEL_DB) for i in shown])
        similarity = _mean([ssim(color[i], views.color[i]) for i in shown])
        overlap = _mean([mask_iou(opacity[i], views.mask[i]) for i in shown])
        return dict(zip(RERENDERED, (decibels, similarity, overlap), strict=True))

    def shape(self, options: FitOptions = FINAL, *, shift: bool = False) -> Metric:
        """Figures of the surface against the true one: F-scores over visible points at 2, 5 and 10 % of the true box's
        diagonal, Chamfer distance (of the diagonal, at most 1), volume IoU, IoU of outlines.

        options: of the fit to a result's views, where it has no mesh of its own.
        shift: whether it may first be moved along the photo's line of sight, which no single photo tells.
        """

        def measure(case: Case, result: Result) -> Mapping[str, float]:
            if case.mesh is None:
                return {}
            predicted = result.mesh
            if predicted is None:
                field = self._fit(case, result, options)
                predicted = (np.zeros((0, 3)), np.zeros((0, 3), int)) if field is None else isosurface(field)
            return shape_figures(case, predicted, shift)

        return Metric((*FRACTIONS, "chamfer", "volume_iou", "outline_iou"), measure)


def shape_figures(case: Case, predicted: Mesh, shift: bool) -> Mapping[str, float]:
    """What `OwnSurface.shape` tells, of a mesh in the case's world."""
    assert case.mesh is not None
    truth = visible_points(*case.mesh, np.random.default_rng(1))
    own = visible_points(*predicted, np.random.default_rng(2))
    if shift and len(own):
        offset = np.zeros(3)
        offset[DEPTH] = depth_shift(own, truth)
        own, predicted = own + offset, (predicted[0] + offset, predicted[1])
    score = surface_score(own, truth, tuple(FRACTIONS.values()))
    return {
        **{name: score.f_score[fraction] for name, fraction in FRACTIONS.items()},
        "chamfer": min(score.chamfer, 1.0),
        "volume_iou": volume_iou(predicted, case.mesh),
        "outline_iou": outline_iou(*predicted, case.truth.mask, case.truth.rig),
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


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else NOTHING
