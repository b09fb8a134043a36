"""Views -> Surface: the final NeuS on the normals and masks of pixel-aligned views.

In: `Views`, and the `Body` that they show, where there is one. Out: `Surface`. Colours are not fitted: they belong to
the texture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from img2mv3d.mesh.draft import body_maps
from img2mv3d.neus.fit import FINAL, fit
from img2mv3d.neus.prior import prior_of
from img2mv3d.plans import ReconstructOptions
from img2mv3d.values import Body, Surface, Views

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

    body: begun with, and kept where no view says anything else; without one the fit begins with the silhouettes' hull.
    Without normals and body the surface is fitted to the silhouettes alone, and a warning says so. Raises
    NothingFoundError when no view shows an object.
    """
    normal = np.zeros((*views.mask.shape, 3), np.float32) if views.normal is None else views.normal
    warnings = (NO_NORMALS,) if views.normal is None and body is None else ()
    prior = None
    if body is not None:
        seen = body_maps(body.field, views.rig, views.mask.shape[1])
        prior = prior_of(body.field, views.mask, normal, (seen.mask, seen.normal))
    found = fit(normal, views.mask, views.rig, FINAL.scaled(options.grid, options.effort), progress, prior)
    return Surface(found.sdf, found.figures, (*warnings, *found.warnings))
