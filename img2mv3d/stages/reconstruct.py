"""Views -> Surface: the final NeuS on the normals and masks of pixel-aligned views.

In: `Views`. Out: `Surface`.
Why here: the mesh wants the finest field; colours belong to the texture (they do not help the shape, facts/neus_study).
"""

from __future__ import annotations

from collections.abc import Callable

from img2mv3d.errors import ViewsError
from img2mv3d.neus.fit import FINAL, fit
from img2mv3d.plans import ReconstructOptions
from img2mv3d.values import Surface, Views

VERSION = 2


def reconstruct(
    views: Views, *, options: ReconstructOptions, progress: Callable[[int, int], None] | None = None
) -> Surface:
    """The final fit: a closed surface. progress(done, total) counts steps. Figures: as `neus.fit.Fit`; among them
    source, "hull" when the fit failed and the silhouettes' hull had to do, which a warning says, too.

    Raises ViewsError when there are no normals, NothingFoundError when no view shows an object.
    """
    if views.normal is None:
        raise ViewsError("these views have no normal maps, and the surface is fitted to them; add normal_<view>.png")
    found = fit(views.normal, views.mask, views.rig, FINAL.scaled(options.grid, options.effort), progress)
    return Surface(found.sdf, found.figures, found.warnings)
