"""Views -> Surface: the final NeuS on the normals and masks of pixel-aligned views.

In: `Views`, and the `Body` that they show, where there is one. Out: `Surface`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from img2mv3d.mesh.draft import Maps, body_maps
from img2mv3d.neus.drawn import redrawn
from img2mv3d.neus.fit import FINAL, fit
from img2mv3d.neus.prior import Prior, prior_of
from img2mv3d.plans import ReconstructOptions
from img2mv3d.values import Body, Surface, Views

MOVED = 0.02  # world units: a surface that is farther from where it was is another one
NO_NORMALS = "these views have no normal maps: the shape follows the silhouettes, concave parts are filled"


def reconstruct(
    views: Views,
    *,
    options: ReconstructOptions,
    body: Body | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Surface:
    """The final fit: a closed surface. progress(done, total) counts steps. Figures: as `neus.fit.Fit`; among them
    source, "hull" when the fit failed and the silhouettes' hull had to do, which a warning says, too.

    body: begun with, and kept where no view says anything else: what an outline shows more or less of it than itself is
    added or cut first (`neus.drawn`). Without one the fit begins with the silhouettes' hull.
    Without normals and body the surface is fitted to the silhouettes alone, and a warning says so. Raises
    NothingFoundError when no view shows an object.
    """
    told = targets(views, body)
    warnings = (NO_NORMALS,) if views.normal is None and body is None else ()
    schedule = FINAL.scaled(options.grid, options.effort)
    found = fit(told.normal, told.mask, views.rig, schedule, progress, told.prior, views.color)
    return Surface(found.sdf, found.figures, (*warnings, *found.warnings))


class Targets(NamedTuple):
    """What a fit is given: normals and masks as `Views` have them, none where unknown, and a body to begin with."""

    normal: Float[np.ndarray, "V H W 3"]
    mask: Float[np.ndarray, "V H W"]
    prior: Prior | None


def targets(views: Views, body: Body | None) -> Targets:
    """What the final fit reads of views of a body, or of none."""
    mask, normal = views.mask, views.normal
    if normal is None:
        normal = np.zeros((*mask.shape, 3), np.float32)
    if body is None:
        return Targets(normal, mask, None)
    field, own = body.field, body_maps(body.field, views.rig, mask.shape[1])
    drawn = redrawn(field, mask, own.mask, views.rig)
    if drawn is not field:
        field, seen = drawn, body_maps(drawn, views.rig, mask.shape[1])
        mask, normal = _followed(mask, normal, own, seen)
        own = seen
    return Targets(normal, mask, prior_of(field, mask, normal, (own.mask, own.normal)))


def _followed(
    mask: Float[np.ndarray, "V H W"], normal: Float[np.ndarray, "V H W 3"], before: Maps, after: Maps
) -> tuple[Float[np.ndarray, "V H W"], Float[np.ndarray, "V H W 3"]]:
    """Outlines and normals of views of a body that was changed: where a view showed it as it was, it shows it as it is
    now."""
    same = np.abs(mask - before.mask) < 0.5
    outline = np.where(same, mask + after.mask - before.mask, mask).clip(0, 1).astype(np.float32)
    moved = ((before.mask >= 0.5) != (after.mask >= 0.5)) | (np.abs(before.z - after.z) > MOVED)
    return outline, np.where(moved[..., None], after.normal, normal) * (outline[..., None] > 0)
