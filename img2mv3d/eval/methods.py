"""The methods that tables compare: decoders of a case's latents; bundles and other programs that see its photo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from img2mv3d.bundles.decoders import choose
from img2mv3d.bundles.manifests import MANIFEST
from img2mv3d.bundles.weights import Bundle, Checkpoint, load_bundle
from img2mv3d.conventions import FRONT
from img2mv3d.errors import UsageError, ViewsError
from img2mv3d.eval.comparison import TRUTH, Case, Method, Result
from img2mv3d.eval.conditions import latents_of, with_latents
from img2mv3d.files.durable import digest_file
from img2mv3d.geometry.blending import multi_view_blending
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.compositing import over_white
from img2mv3d.geometry.framing import Framing
from img2mv3d.geometry.solid import revolution_field
from img2mv3d.mesh.draft import draft
from img2mv3d.mesh.extract import isosurface
from img2mv3d.mesh.files import read_mesh
from img2mv3d.mesh.likenesses import likenesses
from img2mv3d.mesh.photographs import photo_source
from img2mv3d.nets.crossview import CrossViewDecoder
from img2mv3d.nets.vae import DecodesLatents
from img2mv3d.plans import DecodeOptions
from img2mv3d.readers.third_party_views import layout_of, read_foreign, resized, shrunk
from img2mv3d.stages.body import predict_body
from img2mv3d.stages.decode import decode
from img2mv3d.stages.depth import cut_out
from img2mv3d.values import Body, Views, load_views

PLAIN, BLENDING = "plain", "multi-view blending"
LEAST_SCALE, MOST_SCALE = 0.01, 2.0  # sizes that differ by less are one; by more, something else is wrong
BACK = SIX_VIEWS.names.index("back")
REVOLUTION_NODES = 128
MESHES = (".glb", ".obj", ".ply", ".stl")

Pictures = Callable[[Case], Float[Tensor, "V 3 H W"]]


def decoders(bundle: Bundle, name: str, given: Sequence[str]) -> dict[str, Method]:
    """True views, plain decoding, its blend, and cross-view decoders.

    name: of the bundle. given: "NAME=BUNDLE" of the decoders; none: the bundle's own.
    """
    plain = bundle.plain_decoder()
    methods = {
        TRUTH: Method(lambda case: Result(case.truth), "truth"),
        PLAIN: decoder_method(plain_pictures(plain), bundle.digest),
        BLENDING: decoder_method(blended_pictures(plain), bundle.digest),
    }
    for called, source in named(given or [f"cross-view={name}"]).items():
        made = load_bundle(source)
        methods[called] = decoder_method(crossview_pictures(made.crossview_decoder()), made.digest)
    return methods


def named(given: Sequence[str]) -> dict[str, str]:
    """Sources by the names of their methods, of words "NAME=SOURCE" or "NAME". Raises UsageError on two of one name."""
    sources: dict[str, str] = {}
    for word in given:
        name, _, source = word.partition("=")
        if name in sources:
            raise UsageError(f"--method {word}: there is a method {name} already")
        sources[name] = source or name
    return sources


def decoder_method(pictures: Pictures, digest: str) -> Method:
    """A way to decode a case's latents, judged by its pictures; its views are cut out by their own silhouettes."""

    def make(case: Case) -> Result:
        assert case.normals is not None
        shown = pictures(case).movedim(1, -1).contiguous().numpy()
        return Result(cut_out(shown, case.normals, white(case.photo)[1], SIX_VIEWS, case.prior), shown)

    return Method(make, digest)


def plain_pictures(decoder: DecodesLatents) -> Pictures:
    """One view at a time."""

    def decode_plainly(case: Case) -> Tensor:
        assert case.latents is not None
        return torch.cat([decoder.decode(one[None]).clamp(0, 1) for one in torch.from_numpy(case.latents.color)])

    return decode_plainly


def blended_pictures(decoder: DecodesLatents) -> Pictures:
    """Plain views and the photo, blended on the surface of the case's depth."""
    plain = plain_pictures(decoder)
    return lambda case: multi_view_blending(plain(case), *surface_of(case), SIX_VIEWS)


def crossview_pictures(decoder: CrossViewDecoder) -> Pictures:
    """All views together."""

    def decode_together(case: Case) -> Tensor:
        assert case.latents is not None
        return decoder.decode(torch.from_numpy(case.latents.color), *surface_of(case), SIX_VIEWS).clamp(0, 1)

    return decode_together


def surface_of(case: Case) -> tuple[Float[Tensor, "V H W"], Float[Tensor, "V H W"], Float[Tensor, "4 H W"]]:
    """z and hit of the depth that a decoder may use, and the photo, RGBA in [0, 1]."""
    assert case.depth is not None
    z, hit = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (case.depth.z, case.depth.hit))
    return z, hit, torch.from_numpy(case.photo.astype(np.float32) / 255).movedim(-1, 0)


class Generation:
    """A case with what a bundle makes of its photo, at its own settings and with seed 0; the last one is kept."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._nets = bundle.generator()
        self._shape = bundle.shape() if "shape" in bundle.parts() else None
        self._last: tuple[Case, Case] | None = None
        self.body: Body | None = None  # of the last one

    def __call__(self, case: Case) -> Case:
        if self._last is None or self._last[0] is not case:
            framing_px = self.bundle.framing_px
            photo = case.photo if case.reframed is None else case.reframed(framing_px)
            self.body = None if self._shape is None else predict_body(photo, net=self._shape)
            latents = latents_of(photo, self._nets, framing_px, body=self.body)
            self._last = case, with_latents(replace(case, photo=photo), latents, self.bundle, body=self.body)
        return self._last[1]

    def plain(self, case: Case) -> Result:
        """The latents decoded one by one."""
        depth = self(case).depth
        assert depth is not None
        return self._sized(depth.plain, case)

    def blended(self, case: Case) -> Result:
        """Those views blended on the surface of the coarse fit, with the photo."""
        made = self(case)
        assert made.depth is not None
        views = made.depth.plain
        color = torch.from_numpy(np.ascontiguousarray(views.color)).movedim(-1, 1)
        shown = multi_view_blending(color, *surface_of(made), views.rig).movedim(1, -1).contiguous().numpy()
        return self._sized(replace(views, color=np.where(views.mask[..., None] > 0, shown, np.float32(1))), case)

    def decoded(self, bundle: Bundle) -> Callable[[Case], Result]:
        """Views by the cross-view decoder that a run of `bundle` would take."""
        decoder = choose("crossview", bundle).make()

        def make(case: Case) -> Result:
            made = self(case)
            assert made.latents is not None and made.depth is not None
            told = {"decoder": decoder, "options": DecodeOptions(), "body": self.body}
            return self._sized(decode(made.latents, made.depth, **told), case)

        return make

    def _sized(self, views: Views, case: Case) -> Result:
        """With the body that they show, unless their size had to be changed."""
        result = sized(views, case)
        return replace(result, body=self.body) if result.views is views else result


def photo_methods(base: str, given: Sequence[str]) -> dict[str, Method]:
    """Methods of words "NAME=BUNDLE" or "NAME=FOLDER" (views or meshes by object); base alone when there are none.

    A bundle without a denoiser of its own decodes what base's generates. Before the first method on a denoiser come
    PLAIN and BLENDING, of the same latents. Raises UsageError on two methods of one name.
    """
    methods: dict[str, Method] = {}
    makers: dict[str, Generation] = {}
    for name, source in named(given or [base]).items():
        if is_folder_of_results(Path(source)):
            methods[name] = folder_method(Path(source))
            continue
        bundle = load_bundle(source)
        own = isinstance(bundle, Checkpoint) or "unet" in bundle.manifest["parts"]
        first = bundle if own else load_bundle(base)
        if first.digest not in makers:
            maker = makers[first.digest] = Generation(first)
            for kind, make in ((PLAIN, maker.plain), (BLENDING, maker.blended)):
                methods[f"{name}, {kind}" if kind in methods else kind] = Method(make, first.digest)
        methods[name] = Method(makers[first.digest].decoded(bundle), f"{first.digest} {bundle.digest}")
    return methods


def body_methods(bundle: Bundle) -> dict[str, Method]:
    """The photo copied to all sides, the body of revolution of its outline, and what the bundle's shape network makes
    of it: with the depth that it predicts, and with the true one."""

    def revolved(case: Case) -> Result:
        return Result(mesh=isosurface(revolution_field(white(case.photo)[1], REVOLUTION_NODES)))

    def predicted(case: Case, ratio: float | None = None) -> Result:
        body = predict_body(case.photo, net=net, depth_ratio=ratio)
        front = SIX_VIEWS.cameras(case.photo.shape[0])[FRONT]
        photo = photo_source(case.photo, Framing((1.0, 1.0), (0.0, 0.0), bundle.framing_px), front)
        photo, others = likenesses(photo, body)
        alpha = white(case.photo)[1]
        views = draft(body.field, body.far, photo, alpha, SIX_VIEWS, others)
        drafted = Views(views.color, views.maps.normal, views.maps.mask, SIX_VIEWS, "draft")
        return Result(drafted, mesh=isosurface(body.field))

    def with_true_depth(case: Case) -> Result | None:
        if case.mesh is None:
            return None
        width, height, depth = np.ptp(case.mesh[0], axis=0)
        return predicted(case, float(depth / max(width, height)))

    methods = {
        "photo copied": Method(lambda case: Result(copied(case.photo)), "copied"),
        "revolution": Method(revolved, "revolution"),
    }
    if "shape" in bundle.parts():
        net = bundle.shape()
        methods["body"] = Method(predicted, bundle.digest)
        methods["body, true depth"] = Method(with_true_depth, bundle.digest)
    return methods


def is_folder_of_results(path: Path) -> bool:
    """Whether a folder holds no bundle, and no published checkpoint."""
    return path.is_dir() and not (path / MANIFEST).is_file() and not (path / "unet").is_dir()


def folder_method(folder: Path) -> Method:
    """What another program made: folder/ID.glb (.obj, .ply, .stl) is a mesh in our world; views lie in folder/ID/, or
    in folder/ID.png where a layout is one picture, in any layout that `third_party_views` knows, or in ours."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder)} {digest_file(path)}\n".encode())

    def make(case: Case) -> Result | None:
        for path in (folder / f"{case.id}{ending}" for ending in MESHES):
            if path.exists():
                mesh = read_mesh(path)
                return Result(mesh=(np.asarray(mesh.vertices), np.asarray(mesh.faces)))
        place = next((p for p in (folder / case.id, folder / f"{case.id}.png") if p.exists()), None)
        return None if place is None else sized(resized(_read(place), case.truth.mask.shape[1]), case)

    return Method(make, digest.hexdigest())


def sized(views: Views, case: Case) -> Result:
    """Views of the six-view rig with their front silhouette as large as the true one's, by area.

    Every program frames the photo in its own way, and its orthographic views are all of one scale. Untouched where
    sizes agree to a per cent, and in other rigs.
    """
    area, wanted = float(views.mask[FRONT].sum()), float(case.truth.mask[FRONT].sum())
    scale = (area / wanted) ** 0.5 if wanted > 0 else 1.0
    if views.rig != SIX_VIEWS or abs(scale - 1) < LEAST_SCALE or not 1 / MOST_SCALE < scale < MOST_SCALE:
        return Result(views)
    return Result(shrunk(views, scale))


def copied(photo: UInt8[np.ndarray, "H W 4"]) -> Views:
    """The photo on all sides, mirrored at the back, where its outline is the true one. No normals."""
    color, alpha = white(photo)
    colors, masks = np.stack([color] * len(SIX_VIEWS)), np.stack([alpha] * len(SIX_VIEWS))
    colors[BACK], masks[BACK] = color[:, ::-1], alpha[:, ::-1]
    return Views(colors, None, masks, SIX_VIEWS)


def _read(place: Path) -> Views:
    layout = layout_of(place)
    if layout is not None:
        return read_foreign(place, layout)
    if not place.is_dir():
        raise ViewsError(f"{place}: of no layout that is known; a picture of views must have its program's own size")
    return load_views(place / "views" if (place / "views").is_dir() else place)


def white(photo: UInt8[np.ndarray, "H W 4"]) -> tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W"]]:
    """The photo over white, and its alpha, both in [0, 1]."""
    rgba = photo.astype(np.float32) / 255
    return over_white(rgba[..., :3], rgba[..., 3:]), rgba[..., 3]
