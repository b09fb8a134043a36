"""Who shows views of a protocol's object: a bundle that is given the photo, or a folder of what another program made.

In: a `Case`, of which an arm looks at the photo alone. Out: `Views` in whatever rig the arm has. Why here: figures must
not know where views come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from img2mv3d.bundles.decoders import choose
from img2mv3d.bundles.manifests import MANIFEST
from img2mv3d.bundles.weights import Bundle, Checkpoint, load_bundle
from img2mv3d.conventions import FRONT
from img2mv3d.errors import UsageError, ViewsError
from experiments.fit.alignment import Placement, realigned, realigned_normals
from img2mv3d.eval.blended import blend
from img2mv3d.eval.generated import latents_of
from img2mv3d.eval.protocol_cases import FRAMING_PX, Case, case_of
from img2mv3d.plans import DecodeOptions, DepthOptions
from img2mv3d.readers.third_party_views import layout_of, read_foreign, resized
from img2mv3d.stages.decode import decode
from img2mv3d.stages.depth import fit_depth, plain_views
from img2mv3d.values import Depth, Latents, Views, load_views

LEAST_SCALE, MOST_SCALE = 0.01, 2.0  # sizes that differ by less are one; by more, something else is wrong


@dataclass(frozen=True)
class Arm:
    """views: of a case; None when there are none. digest: of weights or files, so that figures are made again when they
    change."""

    digest: str
    views: Callable[[Case], Views | None]


class Generated:
    """Latents and depth that a bundle makes of a case's photo, at its own settings and with seed 0; the last one is
    kept for the next arm."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.nets, self.plain = bundle.generator(), bundle.plain_decoder()
        self._last: tuple[str, Latents, Depth] | None = None

    def __call__(self, case: Case) -> tuple[Latents, Depth]:
        if self._last is None or self._last[0] != case.render:
            wanted = self.bundle.framing_px
            shown = case if wanted == FRAMING_PX else case_of(case.subject, wanted)
            latents = latents_of(shown.photo, self.nets, shown.framing_px)
            depth = fit_depth(plain_views(latents, decoder=self.plain), options=DepthOptions())
            self._last = (case.render, latents, depth)
        return self._last[1:]

    def blended(self, case: Case) -> Views:
        """The plain views laid on the fitted surface with the photo, and seen again."""
        latents, depth = self(case)
        color, front = (
            torch.from_numpy(np.ascontiguousarray(a)).movedim(-1, -3)
            for a in (depth.plain.color, latents.front.astype(np.float32) / 255)
        )
        z, hit = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (depth.z, depth.hit))
        shown = blend(color, z, hit, front, latents.rig).movedim(1, -1).contiguous().numpy()
        shown = np.where(depth.plain.mask[..., None] > 0, shown, np.float32(1))
        return replace(depth.plain, color=shown)

    def decoded(self, bundle: Bundle) -> Callable[[Case], Views]:
        """Views by the cross-view decoder that a run of `bundle` would take."""
        decoder = choose("crossview", bundle).make()
        return lambda case: decode(*self(case), decoder=decoder, options=DecodeOptions())


def arms_of(base: str, given: Sequence[str]) -> dict[str, Arm]:
    """Arms of words "NAME=BUNDLE" or "NAME=FOLDER" (folders of views by object); base alone when there are none.

    base: a bundle. A bundle without a denoiser of its own decodes what base's generates. Before the first arm on a
    denoiser come "plain", the same latents decoded one by one, and "plain, blended", see `Generated.blended`. Raises
    UsageError on two arms of one name.
    """
    arms: dict[str, Arm] = {}
    makers: dict[str, Generated] = {}
    for word in given or [f"{base}={base}"]:
        name, _, source = word.partition("=")
        if name in arms:
            raise UsageError(f"--arm {word}: there is an arm {name} already")
        if is_folder_of_views(Path(source or name)):
            arms[name] = folder_arm(Path(source or name))
            continue
        bundle = load_bundle(source or name)
        own = isinstance(bundle, Checkpoint) or "unet" in bundle.manifest["parts"]
        first = bundle if own else load_bundle(base)
        if first.digest not in makers:
            maker = makers[first.digest] = Generated(first)
            plain = "plain" if "plain" not in arms else f"{name}, plain"
            arms[plain] = Arm(first.digest, lambda case, maker=maker: maker(case)[1].plain)
            arms[f"{plain}, blended"] = Arm(first.digest, maker.blended)
        arms[name] = Arm(f"{first.digest} {bundle.digest}", makers[first.digest].decoded(bundle))
    return arms


def is_folder_of_views(path: Path) -> bool:
    """Whether a folder holds no bundle, and no published checkpoint."""
    return path.is_dir() and not (path / MANIFEST).is_file() and not (path / "unet").is_dir()


def folder_arm(folder: Path) -> Arm:
    """Views that lie in folder/ID/ (or folder/ID.png, where a layout is one picture), in any layout that
    `third_party_views` knows, or in ours."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())

    def views(case: Case) -> Views | None:
        places = [folder / case.subject.id, folder / f"{case.subject.id}.png"]
        place = next((p for p in places if p.exists()), None)
        return None if place is None else resized(_read(place), case.views.mask.shape[1])

    return Arm(digest.hexdigest(), views)


def brought_to_size(views: Views, truth: Float[np.ndarray, "V H W"]) -> Views:
    """Views of the six-view rig with their front silhouette as large as the true one's, by area: every program frames
    the photo in its own way, and its orthographic views are all of one scale. Untouched where sizes agree to a per
    cent."""
    area, wanted = float(views.mask[FRONT].sum()), float(truth[FRONT].sum())
    scale = (area / wanted) ** 0.5 if wanted > 0 else 1.0
    if abs(scale - 1) < LEAST_SCALE or not 1 / MOST_SCALE < scale < MOST_SCALE:
        return views
    where = [Placement(scale=scale)] * len(views.rig)
    normal = None if views.normal is None else realigned_normals(views.normal, where)
    color, mask = realigned(views.color, where), realigned(views.mask, where)
    return Views(color, normal, mask, views.rig, views.origin, views.warnings)


def _read(place: Path) -> Views:
    layout = layout_of(place)
    if layout is not None:
        return read_foreign(place, layout)
    if not place.is_dir():
        raise ViewsError(f"{place}: of no layout that is known; a picture of views must have its program's own size")
    return load_views(place / "views" if (place / "views").is_dir() else place)
