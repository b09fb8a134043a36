"""Who makes views of a case: plain decoding, its blend, cross-view decoders and what may be changed about them.

In: bundles by name. Out: arms, functions from a `Case` to pictures. Why here: every table compares the same arms under
the same names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from img2mv3d.bundles.weights import Bundle, load_bundle
from img2mv3d.eval.blended import blend
from img2mv3d.eval.cases import Case
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.crossview import CrossViewDecoder
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.plans import DepthOptions
from img2mv3d.stages.depth import cut_out, decoded_normals, fit_depth
from img2mv3d.values import Latents, Views

Arm = Callable[[Case], Float[Tensor, "V 3 H W"]]
SOFTER = ", as soft as "  # between the names of an arm that was blurred and of the one that it is now as soft as
MADE_OF = "arms.json"  # beside the figures: digests of what made them


def plain_arm(decoder: PlainDecoder) -> Arm:
    """One view at a time."""
    return lambda case: torch.cat([decoder.decode(one[None]).clamp(0, 1) for one in case.latents])


def blended_arm(decoder: PlainDecoder) -> Arm:
    """Plain views and the photo, blended on the surface of the given depth."""
    plain = plain_arm(decoder)
    return lambda case: blend(plain(case), case.z, case.hit, case.front, SIX_VIEWS)


def crossview_arm(decoder: CrossViewDecoder, **switches: bool) -> Arm:
    """A cross-view decoder. switches: attention_on, front_on, carry_on."""

    def run(case: Case) -> Tensor:
        before = {key: getattr(decoder, key) for key in switches}
        try:
            for key, value in switches.items():
                setattr(decoder, key, value)
            return decoder.decode(case.latents, case.z, case.hit, case.front, SIX_VIEWS).clamp(0, 1)
        finally:
            for key, value in before.items():
                setattr(decoder, key, value)

    return run


def true_arm(case: Case) -> Float[Tensor, "V 3 H W"]:
    """The true views themselves: what there is to reach."""
    return torch.from_numpy(case.truth).movedim(-1, 1)


def true_depth_arm(arm: Arm, outlines: bool = False) -> Arm:
    """The same, told the true depth where the object is, and, if asked for, its true outlines."""

    def run(case: Case) -> Tensor:
        solid, true_z = torch.from_numpy(case.mask) >= 0.5, torch.from_numpy(case.true_z)
        if outlines:
            return arm(replace(case, z=true_z, hit=solid.float()))
        return arm(replace(case, z=torch.where(solid, true_z, case.z)))

    return run


def second_pass_arm(arm: Arm, decoder: PlainDecoder) -> Arm:
    """The same once more, with the depth of a quick fit to what it made first; once only where depth is exact.
    decoder: of the normals."""

    def run(case: Case) -> Tensor:
        first = arm(case)
        if case.setting == "exact":
            return first
        depth = fit_depth(own_views(first, normals_of(case, decoder), case), options=DepthOptions())
        z, hit = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (depth.z, depth.hit))
        return arm(replace(case, z=z, hit=hit))

    return run


def normals_of(case: Case, decoder: PlainDecoder) -> Float[np.ndarray, "V H W 3"]:
    """The normal maps of a case that has their latents, each decoded on its own, as pictures."""
    assert case.normals is not None
    rgba = (case.front.movedim(0, -1).numpy() * 255 + 0.5).astype(np.uint8)
    told = Latents(case.latents.numpy(), case.normals.numpy(), rgba, SIX_VIEWS, 1, {}, "", 0)
    return decoded_normals(told, decoder)


def own_views(pictures: Float[Tensor, "V 3 H W"], coded: Float[np.ndarray, "V H W 3"], case: Case) -> Views:
    """An arm's pictures, cut out by their own outlines and those of the normal maps `coded`, as plain views are in a
    run (which keeps the plain ones' outlines; an arm that is judged alone has none but its own)."""
    alpha = case.front[3].numpy()
    return cut_out(pictures.movedim(1, -1).contiguous().numpy(), coded, alpha, SIX_VIEWS, case.round_share)


def arms_of(bundle: Bundle, name: str, decoders: Sequence[str], more: bool = False) -> dict[str, Arm]:
    """True views, plain ones, plain ones blended, and cross-view decoders given as "NAME=BUNDLE" (none: the bundle's
    own), each as it is and with its attention switched off. name: the bundle's own. more: each also with its other
    parts off, told the truth's depth (and outlines), and in a second pass.
    """
    plain = bundle.plain_decoder()
    arms: dict[str, Arm] = {"true views": true_arm, "plain": plain_arm(plain), "plain, blended": blended_arm(plain)}
    for called, source in named(name, decoders).items():
        decoder = load_bundle(source).crossview_decoder()
        arms[called] = crossview_arm(decoder)
        arms[f"{called}, attention off"] = crossview_arm(decoder, attention_on=False)
        if more:
            arms[f"{called}, front pyramid off"] = crossview_arm(decoder, front_on=False)
            arms[f"{called}, carried photo off"] = crossview_arm(decoder, carry_on=False)
            arms[f"{called}, true depth"] = true_depth_arm(arms[called])
            arms[f"{called}, true depth and outlines"] = true_depth_arm(arms[called], outlines=True)
            arms[f"{called}, second pass"] = second_pass_arm(arms[called], plain)
    return arms


def named(name: str, decoders: Sequence[str]) -> dict[str, str]:
    """Bundles by the names of their arms."""
    words = [d.partition("=") for d in decoders or [f"cross-view={name}"]]
    return {called: source or called for called, _, source in words}


def still_true(out: Path, bundle: Bundle, sources: dict[str, str]) -> Callable[[str], bool]:
    """Whether figures of an arm that lie in `out` were made of today's weights, by the digests that stand there; where
    none stand, they are taken as they are. Writes today's. sources: of `named`.

    Another bundle makes other latents, so that nothing of before counts."""
    path = out / MADE_OF
    before: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    today = {"": bundle.digest} | {called: load_bundle(source).digest for called, source in sources.items()}
    same = before.get("", bundle.digest) == bundle.digest
    path.write_text(json.dumps((before if same else {}) | today, indent=1, sort_keys=True))

    def unchanged(arm: str) -> bool:
        first = max((n for n in today if n and (arm == n or arm.startswith(f"{n}, "))), key=len, default="")
        return before.get(first, today[first]) == today[first]

    def kept(arm: str) -> bool:
        return same and all(unchanged(one) for one in arm.split(SOFTER))

    return kept
