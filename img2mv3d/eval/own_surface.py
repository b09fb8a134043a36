"""Metrics by the surface that a method's own views make: fitted to them once, seen again, compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.comparison import Case, Metric, Result
from img2mv3d.eval.metrics import sift_matches, ssim, summed
from img2mv3d.eval.scores import FRACTIONS, NEAR_DEG, mean, shape_figures
from img2mv3d.geometry.agreement import reprojection_error
from img2mv3d.geometry.blending import consensus
from img2mv3d.geometry.compositing import over_white
from img2mv3d.geometry.similarity import LEVEL_DB, mask_iou, psnr
from img2mv3d.mesh.extract import isosurface
from img2mv3d.neus.fit import FINAL, QUICK, FitOptions, fit
from img2mv3d.neus.render import render_views
from img2mv3d.stages.reconstruct import targets
from img2mv3d.values import Body, Views

OWN = ("own_reprojection", "own_epipolar", "own_inliers", "own_matches")
RERENDERED = ("re_psnr", "re_ssim", "re_iou")


class OwnSurface:
    """Metrics by the surface that a method's own views make: no truth is needed. It keeps the fits of one case."""

    def __init__(self) -> None:
        self._case: Case | None = None
        self._fits = Fits()

    def consistency(self) -> Metric:
        """own_reprojection, own_inliers: as `consistency_figures`, by a coarse fit to the views; own_epipolar: matches
        on the epipolar line, which needs no depth. Views that no surface can be fitted to differ by 1; a method
        that makes none has no such figures."""
        return Metric(OWN, self._consistency)

    def rerendering(self) -> Metric:
        """The final fit seen again by the views' cameras against the views, means: PSNR inside of their own masks (dB),
        SSIM, IoU of masks. 0 where no surface can be fitted."""
        return Metric(RERENDERED, self._rerendering)

    def _fit(self, case: Case, result: Result, options: FitOptions) -> Float[np.ndarray, "N N N"] | None:
        if case is not self._case:
            self._case, self._fits = case, Fits()
        return None if result.views is None else self._fits(result.views, options, result.body)

    def _consistency(self, case: Case, result: Result) -> Mapping[str, float]:
        views, field = result.views, self._fit(case, result, QUICK)
        if views is None:
            return {}
        if field is None:
            return dict(zip(OWN, (1.0, 0.0, 0.0, 0.0), strict=True))
        seen = render_views(field, views.rig, views.mask.shape[1])
        error = reprojection_error(views.color, seen.z, seen.opacity, views.rig)
        near = summed(sift_matches(views.color, seen.z, seen.opacity, views.rig, NEAR_DEG))
        counts = (float(n) for n in (near.epipolar, near.inliers, near.total))
        return dict(zip(OWN, (error, *counts), strict=True))

    def _rerendering(self, case: Case, result: Result) -> Mapping[str, float]:
        views, field = result.views, self._fit(case, result, FINAL)
        if views is None:
            return {}
        if field is None:
            return dict.fromkeys(RERENDERED, 0.0)
        color, opacity = rerendered(views, field)
        hit = (views.mask >= 0.5).astype(np.float32)
        shown = [i for i in range(len(hit)) if hit[i].any()]
        decibels = mean([min(psnr(color[i], views.color[i], hit[i]), LEVEL_DB) for i in shown])
        similarity = mean([ssim(color[i], views.color[i]) for i in shown])
        overlap = mean([mask_iou(opacity[i], views.mask[i]) for i in shown])
        return dict(zip(RERENDERED, (decibels, similarity, overlap), strict=True))

    def shape(self, options: FitOptions = FINAL, *, shift: bool = False) -> Metric:
        """`shape_figures` of a result's mesh; where it has none, of the fit with these options to its views."""

        def measure(case: Case, result: Result) -> Mapping[str, float]:
            if case.mesh is None:
                return {}
            predicted = result.mesh
            if predicted is None:
                field = self._fit(case, result, options)
                predicted = (np.zeros((0, 3)), np.zeros((0, 3), int)) if field is None else isosurface(field)
            return shape_figures(case, predicted, shift)

        return Metric((*FRACTIONS, "chamfer", "volume_iou", "outline_iou"), measure)


class Fits:
    """Fields fitted to views as a run fits them, each once: methods that differ in nothing that the fit reads share
    theirs."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], np.ndarray | None] = {}

    def __call__(
        self, views: Views, options: FitOptions, body: Body | None = None
    ) -> Float[np.ndarray, "N N N"] | None:
        """The field, or None where no surface can be fitted. body: what it begins with."""
        color = views.color.tobytes() if options.color_weight > 0 else b""
        normal = b"" if views.normal is None else views.normal.tobytes()
        key = (normal, views.mask.tobytes(), color, options, id(body))
        if key not in self._known:
            try:
                told = targets(views, body)
                self._known[key] = fit(*told[:2], views.rig, options, prior=told.prior, color=views.color).sdf
            except NothingFoundError:
                self._known[key] = None
        return self._known[key]


def rerendered(
    views: Views, sdf: Float[np.ndarray, "N N N"]
) -> tuple[Float[np.ndarray, "V H W 3"], Float[np.ndarray, "V H W"]]:
    """Colours over white, [0, 1], and opacity of the surface as the views' own cameras see it.

    A point's colour is the mean of what all views that see it show there, each counted by its rays on the surface:
    where a squared loss on a colour field without view dependence ends.
    """
    seen = render_views(sdf, views.rig, views.mask.shape[1])
    tensors = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (seen.z, seen.opacity))
    shown = torch.from_numpy(np.ascontiguousarray(views.color, np.float32)).movedim(-1, 1)
    color = consensus(shown, *tensors, views.rig, power=1).movedim(1, -1).numpy()
    cover = seen.opacity[..., None]
    return over_white(color, cover).astype(np.float32), seen.opacity
