"""Latents + Depth -> Views: the colour latents of all views, decoded together along the epipolar lines of the depth.

In: `Latents`, `Depth`, the cross-view decoder. Out: `Views`: new colours; normals and masks of the plain views. Larger
views are these, enlarged, with what the photo and the body's draft show finer (`mesh.enlarge`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from img2mv3d.conventions import FRONT, IMAGE_SIZE
from img2mv3d.errors import DepthError, LatentsError
from img2mv3d.files.contents import decode_normals, to_bytes
from img2mv3d.geometry.agreement import reprojection_error
from img2mv3d.geometry.antipodal import antipodal_views, inpaint_nearest
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.framing import Framing
from img2mv3d.mesh.draft import draft
from img2mv3d.mesh.enlarge import enlarged, fine_draft, with_finest
from img2mv3d.mesh.likenesses import likenesses
from img2mv3d.mesh.photographs import photo_source
from img2mv3d.mesh.sources import Source
from img2mv3d.nets.crossview import CrossViewDecoder, Looking
from img2mv3d.plans import DECODERS, DecodeOptions
from img2mv3d.values import Body, Depth, Latents, Subject, Views

NO_NORMAL = 0.1  # length of a mean of normals below which it has no direction
REACH = (0.5, 2.0)  # factors on the radius where the depth is certainly right, and certainly not
DISAGREEMENT = 0.12  # mean colour difference at points that neighbours share, above which a warning is given
# (four held-out objects: true views 0.035, exact latents 0.04 to 0.06, disturbed latents 0.07, plainly decoded 0.11)


def decode(
    latents: Latents,
    depth: Depth,
    *,
    decoder: CrossViewDecoder,
    options: DecodeOptions,
    back: Subject | None = None,
    body: Body | None = None,
    subject: Subject | None = None,
) -> Views:
    """The views in pixels. Colours are clipped to [0, 1] and white where the mask is 0.

    Normals and masks are those of `depth.plain`, but the front mask is the photo's alpha, where no body made it.
    options.decoder "plain": the plain colours are kept; else it only names the decoder that was given.
    options.decode_normals: the normal latents go through the cross-view decoder too, without the photo.
    options.attention, samples, radius: as `nets.crossview.Looking` has them, radius "auto" as `reach_of`.
    back: a user's own photo from behind, whose pixels become the back view's colours where both show the object.
    body: whose draft the latents began as: what the autoencoder lost of it is put back where the photo does not look.
    options.resolution, subject: views of more px are enlarged, and get what the photo at its own resolution (of the
        subject; None: what the latents hold of it) shows of the body, and copies of it, which 256 px cannot hold.

    A warning when views disagree by more than DISAGREEMENT at points that both see. Raises DepthError when the depth
    belongs to other views, LatentsError when there are no normal latents to decode.
    """
    rig, size = latents.rig, latents.front.shape[0]
    if depth.z.shape != (len(rig), size, size) or depth.plain.rig != rig:
        raise DepthError(
            f"depth of {' x '.join(map(str, depth.z.shape))} does not belong to {len(rig)} views of {size} px; "
            "make it from these latents"
        )
    mask = depth.plain.mask.copy()
    if depth.plain.origin != "body":  # those have the outline that the body and the photo agree on
        mask[FRONT] = latents.front[..., 3].astype(np.float32) / 255
    front = torch.from_numpy(latents.front.astype(np.float32) / 255).movedim(-1, 0)
    color, normal, origin = depth.plain.color, depth.plain.normal, "plain"
    if options.decoder not in DECODERS:
        raise ValueError(f"decoder {options.decoder!r}: expected one of {', '.join(DECODERS)}")
    if options.decoder != "plain":
        guides = _Guides(depth, front, latents.rig, _looking(options, depth))
        color, origin = _decode(latents.color, guides, decoder), "crossview"
        if body is not None and latents.draft is not None:
            color = color + _lost(body, latents, _decode(latents.draft, guides, decoder))
        if options.decode_normals:
            coded = _normals(latents, guides, decoder)
            normal = decode_normals(to_bytes(coded), mask)
    if depth.plain.origin == "plain" and depth.plain.normal is not None:
        # in views of ours a covered pixel without a normal is one that nothing was painted on
        painted = np.any(depth.plain.normal, axis=-1)
        painted[FRONT] = True  # by the photo
        color = inpaint_nearest(color, (mask >= 0.5) & painted, mask >= 0.5)
    if back is not None:
        color = with_back(color, back.image, rig)
    color = np.where(mask[..., None] > 0, color.clip(0, 1), np.float32(1))
    views = Views(color, normal, mask, rig, origin)
    views = replace(views, warnings=_warnings(views, depth))
    larger = size * options.resolution // IMAGE_SIZE
    if larger == size:
        return views
    views = _enlarged(views, _photo(latents, subject), latents, body, larger)
    if back is None:
        return views
    return replace(views, color=with_back(views.color, back.image, rig))  # a guess's finest band is not the photo's


def _photo(latents: Latents, subject: Subject | None) -> Source:
    camera = latents.rig.cameras(latents.front.shape[0])[FRONT]
    if subject is not None:
        return photo_source(subject.full, subject.framing, camera)
    return photo_source(latents.front, Framing((1.0, 1.0), (0.0, 0.0), latents.framing_px), camera)


def _enlarged(views: Views, photo: Source, latents: Latents, body: Body | None, size: int) -> Views:
    """The views at `size` px a side; of a body also with its outlines at that size."""
    color, mask = enlarged(views.color, size), enlarged(views.mask, size).clip(0, 1)
    if body is not None:
        alpha = latents.front[..., 3].astype(np.float32) / 255
        photo, others = likenesses(photo, body)
        fine = fine_draft(body.field, body.far, photo, alpha, views.rig, others, size)
        color, mask = with_finest(views.color, fine.color, fine.observed), fine.mask
    normal = None
    if views.normal is not None:
        normal = enlarged(views.normal, size)
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        normal = np.where((mask[..., None] >= 0.5) & (length > NO_NORMAL), normal / np.maximum(length, NO_NORMAL), 0)
    color = np.where(mask[..., None] > 0, color.clip(0, 1), np.float32(1))
    return replace(views, color=color, normal=normal, mask=mask)


def _lost(body: Body, latents: Latents, decoded: Float32[np.ndarray, "V H W 3"]) -> Float32[np.ndarray, "V H W 3"]:
    """What latents cannot hold of the draft's colours: the draft less itself encoded and decoded, in those pixels that
    the photo does not show. Latents are eight times coarser than pictures; what the denoiser changed stays."""
    photo, others = likenesses(_photo(latents, None), body)
    alpha = latents.front[..., 3].astype(np.float32) / 255
    drafted = draft(body.field, body.far, photo, alpha, latents.rig, others)
    lost: np.ndarray = (1 - drafted.observed[..., None]) * (drafted.color - decoded)
    return lost


def with_back(
    color: Float32[np.ndarray, "V H W 3"], framed: UInt8[np.ndarray, "h w 4"], rig: Rig
) -> Float32[np.ndarray, "V H W 3"]:
    """The views' colours with the framed photo (straight alpha) over those of the view from straight behind; as they
    were in a rig that has none.
    """
    behind = [j if i == FRONT else i for i, j in antipodal_views(rig) if FRONT in (i, j)]
    if not behind:
        return color
    size = color.shape[1:3]
    covered: np.ndarray = framed.astype(np.float32) / 255
    covered[..., :3] *= covered[..., 3:]
    if covered.shape[:2] != size:
        covered = cv2.resize(covered, size[::-1], interpolation=cv2.INTER_AREA)
    out = color.copy()
    out[behind[0]] = covered[..., :3] + out[behind[0]] * (1 - covered[..., 3:])
    return out


def reach_of(depth: Depth) -> Float32[np.ndarray, "V H W"]:
    """How far the decoder looks along each ray, in its radius, by how sure the depth is. Raises DepthError where nobody
    knows that."""
    if depth.confidence is None:
        raise DepthError("this depth tells no confidence, which --radius auto needs; give a number")
    sure = depth.confidence.clip(0, 1).astype(np.float32)
    return REACH[0] * sure + REACH[1] * (1 - sure)


def _looking(options: DecodeOptions, depth: Depth) -> Looking | None:
    """What the options say about looking into other views; None: as trained."""
    if options.radius == "auto":
        return Looking(options.attention, options.samples, None, torch.from_numpy(reach_of(depth)))
    radius = None if isinstance(options.radius, str) else options.radius
    looking = Looking(options.attention, options.samples, radius)
    return None if looking == Looking() else looking


class _Guides(NamedTuple):
    """What goes with latents into the decoder."""

    depth: Depth
    front: Tensor
    rig: Rig
    looking: Looking | None


def _normals(latents: Latents, guides: _Guides, decoder: CrossViewDecoder) -> Float32[np.ndarray, "V H W 3"]:
    if latents.normal is None:
        raise LatentsError("these latents hold no normals; omit --decode-normals")
    return _decode(latents.normal, guides._replace(front=torch.zeros_like(guides.front)), decoder)


@torch.no_grad()
def _decode(
    cells: Float32[np.ndarray, "V 4 h w"], guides: _Guides, decoder: CrossViewDecoder
) -> Float32[np.ndarray, "V H W 3"]:
    like = next(decoder.parameters())
    maps = (guides.depth.z, guides.depth.hit)
    z, hit = (torch.from_numpy(np.ascontiguousarray(m, np.float32)).to(like.device) for m in maps)
    looking = guides.looking
    if looking is not None and looking.reach is not None:
        looking = looking._replace(reach=looking.reach.to(like.device))
    pictures = decoder.decode(
        torch.from_numpy(cells).to(like), z, hit, guides.front.to(like.device), guides.rig, looking
    )
    return pictures.float().cpu().movedim(1, -1).contiguous().numpy()


def _warnings(views: Views, depth: Depth) -> tuple[str, ...]:
    if not (depth.hit >= 0.5).any():
        return ("the depth is empty: every view was decoded on its own",)
    apart = reprojection_error(views.color, depth.z, depth.hit, views.rig)
    if apart > DISAGREEMENT:
        return (
            f"the views disagree by {apart:.2f} where they show the same point (above {DISAGREEMENT}); "
            "the generator or the depth may be off, try another --seed",
        )
    return ()
