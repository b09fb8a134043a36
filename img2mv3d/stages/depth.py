"""Latents -> plain views -> Depth: twelve maps decoded one by one, masks, and a coarse NeuS seen from every view.

In: `Latents` and the plain decoder; or plainly decoded `Views`. Out: `Views`, `Depth`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import binary_erosion, maximum_filter

from img2mv3d.conventions import FRONT, IMAGE_SIZE
from img2mv3d.errors import LatentsError
from img2mv3d.files.contents import decode_normals, to_bytes
from img2mv3d.geometry.antipodal import inpaint_nearest, symmetrised_silhouettes
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.completion import complete_silhouettes
from img2mv3d.geometry.masks import view_masks
from img2mv3d.geometry.revolution import apply_revolution_prior
from img2mv3d.mesh.draft import body_maps
from img2mv3d.nets.vae import DecodesLatents
from img2mv3d.neus.confidence import confidence
from img2mv3d.neus.fit import QUICK, fit
from img2mv3d.neus.prior import prior_of
from img2mv3d.neus.render import render_views
from img2mv3d.plans import DepthOptions
from img2mv3d.values import Body, Depth, Latents, Views

OWN_PX = 2  # of IMAGE_SIZE, by which a recognised form's outline may miss the photo's
RIM_PX = 2  # of a decoded picture


def plain_views(latents: Latents, *, decoder: DecodesLatents, revolution_prior: float = 0.0) -> Views:
    """Decode every map on its own; masks of the front view from the photo, of the others from both maps, opposite views
    in agreement, and with room for all that the photo shows.

    revolution_prior: 0..1, how far outlines from the side lean towards a body of revolution (`geometry.revolution`).

    Returns float32 views in [0, 1], colours white and normals (0, 0, 0) outside of the masks. Where a mask covers what
    the view itself does not show, the normal is (0, 0, 0), too, and the colour its neighbour's. Normals are taken as
    world normals: the front camera's frame is the world's. Raises LatentsError when there are no normal latents.
    """
    coded = decoded_normals(latents, decoder)
    color = _decode(latents.color, decoder)
    alpha = latents.front[..., 3].astype(np.float32) / 255
    return cut_out(color, coded, alpha, latents.rig, revolution_prior)


def body_views(latents: Latents, body: Body, *, decoder: DecodesLatents) -> Views:
    """The colours decoded one by one, with outlines and normals of the body: they agree by construction.

    The front view's outline is the photo's, as the body's is; of a recognised form only what lies within its own, but
    for OWN_PX: the lesser of two soft edges would eat into both.
    """
    color = _decode(latents.color, decoder)
    seen = body_maps(body.field, latents.rig, color.shape[1])
    mask = seen.mask.copy()
    alpha = latents.front[..., 3].astype(np.float32) / 255
    mask[FRONT] = alpha
    if body.form:
        near = maximum_filter(seen.mask[FRONT], 2 * round(OWN_PX * len(alpha) / IMAGE_SIZE) + 1)
        mask[FRONT] = np.minimum(alpha, near)
    # a decoded rim is mixed with the white around: its colour is its neighbour's further in
    shown = np.stack([binary_erosion(m >= 0.5, iterations=RIM_PX) for m in mask])
    color = np.where(mask[..., None] > 0, inpaint_nearest(color, shown, mask >= 0.5), np.float32(1))
    return Views(color, seen.normal * (mask[..., None] > 0), mask, latents.rig, "body")


def decoded_normals(latents: Latents, decoder: DecodesLatents) -> Float[np.ndarray, "V H W 3"]:
    """The normal maps as they are painted, n / 2 + 1/2 over white, in [0, 1]. Raises LatentsError without any."""
    if latents.normal is None:
        raise LatentsError("the latents hold no normal maps, and depth needs them; give a depth (--depth FILE or none)")
    return _decode(latents.normal, decoder)


def cut_out(
    color: Float[np.ndarray, "V H W 3"],
    coded: Float[np.ndarray, "V H W 3"],
    alpha: Float[np.ndarray, "H W"],
    rig: Rig,
    revolution_prior: float,
) -> Views:
    """Painted colours and normal codes over white, [0, 1], as views with masks; alpha: of the photo, the front's mask.
    revolution_prior, what is white and what is spread: see `plain_views`."""
    own = view_masks(color, coded, None)
    shown = own >= 0.5
    own[FRONT] = alpha
    mask = complete_silhouettes(
        apply_revolution_prior(symmetrised_silhouettes(own, rig, known=True), rig, revolution_prior), rig
    )
    color = np.where(mask[..., None] > 0, inpaint_nearest(color, shown, mask >= 0.5), np.float32(1))
    normal = decode_normals(to_bytes(coded), mask) * shown[..., None]
    return Views(color, normal, mask, rig, "plain")


def fit_depth(
    views: Views,
    *,
    options: DepthOptions,
    body: Body | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Depth:
    """A quick fit to normals and masks, and its depth from every view at the views' own size.

    z float32 [V, H, W], world units, 0 where hit is 0; hit is the opacity; confidence the chance that z is right.
    body: where the fit begins, as in `reconstruct`. origin is "hull" when the fit failed and the silhouettes' hull had
    to do; a warning says so. Raises NothingFoundError when no view shows an object.
    """
    normal = np.zeros((*views.mask.shape, 3), np.float32) if views.normal is None else views.normal
    prior = None
    if body is not None:
        own = body_maps(body.field, views.rig, views.mask.shape[1])
        prior = prior_of(body.field, views.mask, normal, (own.mask, own.normal))
    coarse = fit(normal, views.mask, views.rig, QUICK.scaled(options.grid, options.effort), progress, prior)
    return seen_depth(coarse.sdf, views, str(coarse.figures["source"]), coarse.warnings)


def seen_depth(
    sdf: Float[np.ndarray, "N N N"], views: Views, origin: str = "neus", warnings: tuple[str, ...] = ()
) -> Depth:
    """The depth of a fitted surface from the cameras of these views, and how sure it is by their normals."""
    normal = np.zeros((*views.mask.shape, 3), np.float32) if views.normal is None else views.normal
    seen = render_views(sdf, views.rig, views.mask.shape[1])
    trust = confidence(seen, normal, views.mask, views.rig)
    return Depth(seen.z, seen.opacity, views, sdf, origin, warnings, trust)


@torch.no_grad()
def _decode(latents: Float[np.ndarray, "V 4 h w"], decoder: DecodesLatents) -> Float[np.ndarray, "V H W 3"]:
    """Pictures in [0, 1], one latent at a time: peak memory is that of one picture."""
    like = next(decoder.parameters())
    pictures = [
        decoder.decode(torch.from_numpy(one[None]).to(like)).float().cpu() for one in latents.astype(np.float32)
    ]
    return torch.cat(pictures).clamp(0, 1).movedim(1, -1).contiguous().numpy()
