"""Body, Views -> Prior: where a fit begins, and which views speak against it."""

from __future__ import annotations

import numpy as np

from img2mv3d.mesh.draft import body_maps
from img2mv3d.neus.prior import Prior, agreement
from img2mv3d.values import Body, Views


def prior_of(body: Body, views: Views) -> Prior:
    """The body as the prior of a fit to `views`. Their normals and outlines are the body's own, unless somebody painted
    on them or had the generated normals decoded: there they count, and not the body."""
    seen = body_maps(body.field, views.rig, views.mask.shape[1])
    normal = np.zeros((*views.mask.shape, 3), np.float32) if views.normal is None else views.normal
    return Prior(body.field, agreement(views.mask, normal, seen.mask, seen.normal))
