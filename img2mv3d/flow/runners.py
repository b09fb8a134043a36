"""The functions that call the stages: values, networks on the right device, the stage's options and random numbers.

In: a `StageContext`, the values of a stage's inputs. Out: what the stage gives, with `save(folder)`. `graph` names the
runner of each stage.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d import machine
from img2mv3d.errors import ResourceError, UsageError, WeightsError
from img2mv3d.flow.context import StageContext
from img2mv3d.flow.watch import with_less
from img2mv3d.mesh.formats import FORMATS
from img2mv3d.plans import ExportOptions, GenerateOptions

if TYPE_CHECKING:
    import torch

    from img2mv3d.nets.generator import GeneratorNets
    from img2mv3d.values import BackSubject, Body, Depth, Latents, Mesh, Sides, Subject, Surface, Views


LARGE = 100_000_000  # parameters of a denoiser from which the branches of the guidance go one after the other


def ready_torch(device: str) -> torch.device:
    """Torch with as many threads as this process may use, and the device by that name ("cpu", "cuda", "cuda:1").

    Raises UsageError on a name that torch does not know, ResourceError when the device is not there.
    """
    import torch

    if torch.get_num_threads() != machine.thread_count():
        torch.set_num_threads(machine.thread_count())
    check_device(device)
    found = torch.device(device)
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError(
            f"--device {device}: torch {torch.__version__} cannot use a graphics card; try --device cpu"
        )
    return found


def warm_up() -> None:
    """Begin to import what generate needs, in a thread: a photo that must be cut out was never generated from, either,
    and cutting out leaves a core free.
    """

    def load() -> None:
        with contextlib.suppress(Exception):  # whoever really needs it meets the error, and tells it
            importlib.import_module("img2mv3d.stages.generate")

    if machine.cpu_count() > 1:
        threading.Thread(target=load).start()  # no daemon: an interpreter must not end in the middle of an import


def matting_digest(remover: str = "auto") -> str | None:
    """sha256 of the network that the remover would take, None without one. Raises WeightsError, UsageError."""
    from img2mv3d.matting.model import digest_of_model, model_for

    model = model_for(remover)
    return None if model is None else digest_of_model(model)


def check_format(format: str) -> None:
    """Raises UsageError when this installation cannot write the format: better now than after all the work."""
    if (needs := FORMATS[format].needs) is not None and importlib.util.find_spec(needs[0]) is None:
        _, package, extra = needs
        raise UsageError(f"{format} files need {package}, which is not installed; pip install 'img2mv3d[{extra}]'")


def check_device(device: str) -> None:
    """Raises UsageError on a name that is none of a device, ResourceError where the installed torch cannot use it; what
    only torch itself can tell comes later."""
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", device) is None:
        raise UsageError(f"--device {device}: expected auto, cpu or cuda")
    if device.startswith("cuda") and machine.torch_cuda_build() is None:
        raise ResourceError(f"--device {device}: this torch was built without CUDA; try --device cpu")


def check_latent_space(latents: Latents, decoders: str) -> None:
    """Raises WeightsError when the latents were not made for decoders of the space `decoders` ("sd-1.x")."""
    found = latents.vae.get("name")
    if found != decoders:
        raise WeightsError(
            f"these latents are of the space {found!r}, the decoders of {decoders!r}; name their bundle with --bundle"
        )


def prepare(context: StageContext, photo: Path, mask: Path | None, matting: Any) -> Subject:
    """Read the photo (and mask), cut the object out, frame it."""
    from img2mv3d.readers.photos import read_mask, read_photo
    from img2mv3d.stages.prepare import prepare

    picture = read_photo(photo)
    cover = None if mask is None else read_mask(mask)
    if not context.last:
        warm_up()
    return prepare(picture, framing_px=context.options.framing_px, options=context.options, mask=cover)


def back(context: StageContext, photo: Path, subject: Subject, matting: Any) -> BackSubject:
    """Read a photo of the back, cut the object out, frame it like the front."""
    from img2mv3d.readers.photos import read_photo
    from img2mv3d.stages.back import back
    from img2mv3d.stages.prepare import prepare

    framing_px = subject.framing.framing_px
    picture = read_photo(photo)
    found = prepare(picture, framing_px=framing_px, options=replace(context.options, framing_px=framing_px))
    return back(found, subject, picture.name)


def sides(context: StageContext, photos: Mapping[float, Path], subject: Subject, matting: Any) -> Sides:
    """Read photos of other sides, cut the object out of each."""
    from img2mv3d.readers.photos import read_photo
    from img2mv3d.stages.prepare import prepare
    from img2mv3d.values import Sides

    framing_px = subject.framing.framing_px
    options = replace(context.options, framing_px=framing_px)
    return Sides({a: prepare(read_photo(p), framing_px=framing_px, options=options) for a, p in photos.items()})


def shape(context: StageContext, subject: Subject, sides: Sides | None = None) -> Body:
    """One closed solid with the photo's outline."""
    ready_torch("cpu")  # a second of work: not worth a transfer
    from img2mv3d.stages.body import predict_body

    options = context.options
    box_mm = tuple(options.box_mm) if options.box_mm else None  # a list, where run.json said it
    net = context.networks.shape()
    seen = {} if sides is None else {azimuth: part.image for azimuth, part in sides.parts.items()}
    told = {"depth_ratio": options.depth_ratio, "box_mm": box_mm, "facing_deg": options.facing_deg}
    body = predict_body(subject.image, net=net, seed=context.seed, sides=seen, **told)
    if body.form == "" and options.facing_deg is None and (facing := body.facing_deg) is not None:
        where = (
            "to the camera"
            if abs(facing) < 3
            else f"{abs(facing):.0f} degrees to the {'left' if facing < 0 else 'right'}"
        )
        context.note(f"taken to face {where}, and to look alike on both sides; --facing DEG says otherwise")
    return body


def generate(context: StageContext, subject: Subject, body: Body | None = None) -> Latents:
    """Latents of six views, float32 [6, 4, h, w] each of colours and normals."""
    device = ready_torch(context.device)
    import torch

    from img2mv3d.stages.generate import from_body, generate

    nets = context.networks.generator()
    if device.type != "cpu":
        nets = nets.to(device, torch.float16)
    told = {"options": context.options, "seed": context.seed, "progress": context.progress}

    def attempt(at_once: bool) -> Latents:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if body is not None:
            return from_body(subject, body, generator=nets, rng=context.generator(), **told)
        return generate(subject, generator=nets, rng=context.generator(), at_once=at_once, **told)

    attempts = {"one branch of the guidance after the other": partial(attempt, False)}
    if at_once(context, nets):
        attempts = {"both branches at once": partial(attempt, True), **attempts}
    try:
        return with_less(attempts, context.note)
    except ValueError as error:
        if context.options == GenerateOptions():
            raise  # nobody asked for anything: a defect of ours
        raise UsageError(str(error)) from None


def at_once(context: StageContext, nets: GeneratorNets) -> bool:
    """Whether both branches of the guidance go through the denoiser together: where it is small, or fits a card whose
    memory --vram tells."""
    if context.vram is not None and context.device != "cpu":
        from img2mv3d.bundles.forecast import fits

        asked = context.options
        steps, guidance = asked.steps or nets.steps, nets.guidance if asked.guidance is None else asked.guidance
        return fits(context.networks, context.vram, steps=steps, guidance=guidance)
    return sum(p.numel() for p in nets.unet.parameters()) < LARGE


def encode(context: StageContext, pictures: Views) -> Latents:
    """Latents of views that were given as pictures."""
    device = ready_torch(context.device)
    from img2mv3d.stages.encode import encode

    bundle = context.networks
    return encode(pictures, encoder=bundle.encoder().to(device), vae=bundle.vae, bundle=bundle.name)


def depth(context: StageContext, latents: Latents, body: Body | None = None, given: str | Path | None = None) -> Depth:
    """Plain views, and the depth of a quick fit to them (or what was given in its place)."""
    device = ready_torch(context.device)
    from img2mv3d.stages.depth import body_views, fit_depth, plain_views
    from img2mv3d.stages.given import given_depth, plain_colors

    bundle = context.networks
    check_latent_space(latents, bundle.vae["name"])
    decoder = bundle.plain_decoder().to(device)
    if body is not None:
        plain = body_views(latents, body, decoder=decoder)
    elif latents.normal is None:
        plain = plain_colors(latents, decoder=decoder)
    else:
        told = context.options.revolution_prior
        prior = bundle.revolution_prior(latents) if told is None else told
        plain = plain_views(latents, decoder=decoder, revolution_prior=prior)
    if given is not None:
        return given_depth(plain, given)
    return fit_depth(plain, options=context.options, body=body, progress=context.progress)


def decode(
    context: StageContext,
    latents: Latents,
    depth: Depth,
    back: BackSubject | None = None,
    body: Body | None = None,
    subject: Subject | None = None,
) -> Views:
    """Pixel-aligned views, float32 [V, H, W, 3]."""
    device = ready_torch(context.device)
    from img2mv3d.plans import RESOLUTIONS, ReconstructOptions
    from img2mv3d.stages.decode import decode
    from img2mv3d.stages.depth import seen_depth
    from img2mv3d.stages.reconstruct import reconstruct

    chosen = context.networks
    check_latent_space(latents, chosen.space)
    if context.options.decoder != "plain":
        context.note(f"decoded by {chosen.name}: {chosen.why}")

    def attempt(place: torch.device) -> Views:
        told = {"decoder": chosen.make().to(place), "back": back, "body": body, "subject": subject}
        seen, first = depth, replace(context.options, resolution=RESOLUTIONS[0])  # a fit's depth is no finer
        for _ in range(context.options.passes - 1):
            views = decode(latents, seen, options=first, **told)
            surface = reconstruct(views, options=ReconstructOptions(), body=body)
            seen = seen_depth(surface.sdf, depth.plain)
        return decode(latents, seen, options=context.options, **told)

    attempts = {str(device): partial(attempt, device)}
    if device.type != "cpu":
        attempts["on the processor"] = partial(attempt, ready_torch("cpu"))
    return with_less(attempts, context.note)


def reconstruct(context: StageContext, views: Views, body: Body | None = None) -> Surface:
    """The final surface, an SDF [N, N, N] in world units."""
    ready_torch("cpu")
    from img2mv3d.stages.reconstruct import reconstruct

    return reconstruct(views, options=context.options, body=body, progress=context.progress)


@dataclass(frozen=True)
class Written:
    """A mesh that is saved as the options ask for, its levels of detail beside it, next to mesh.json with what was
    checked."""

    mesh: Mesh
    options: ExportOptions
    provenance: dict[str, Any]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The mesh's own, one sentence each."""
        return tuple(self.mesh.notes.get("warnings", ()))

    def save(self, folder: Path) -> None:
        """Write mesh.<format>, mesh_lod1.<format> and so on, and mesh.json into `folder`."""
        import numpy as np

        from img2mv3d.files.contents import write_json
        from img2mv3d.mesh.files import write_mesh
        from img2mv3d.mesh.placement import standing

        asked = self.options
        facts = write_mesh(
            self.mesh,
            folder / f"mesh.{asked.format}",
            size_mm=asked.size_mm,
            height_mm=asked.height_mm,
            up=asked.up,
            provenance=self.provenance,
        )
        place = np.array(facts["file_from_world"])  # one for all levels, which differ a little in size
        lods = []
        for number, lod in enumerate(self.mesh.lods, start=1):
            path = folder / f"mesh_lod{number}.{asked.format}"
            made = write_mesh(standing(lod, place), path, placed=True, provenance=self.provenance)
            kept = ("files", "bytes", "vertices", "faces", "volume", "textured", "read_back")
            lods.append({"file": path.name, **lod.notes, **{name: made[name] for name in kept}})
        facts["files"] = sorted({*facts["files"], *(name for lod in lods for name in lod["files"])})
        if lods:
            facts["lods"] = lods
        write_json(folder / "mesh.json", {**self.mesh.notes, **facts, "provenance": self.provenance})


def export(
    context: StageContext,
    surface: Surface,
    views: Views,
    subject: Subject | None,
    back: BackSubject | None,
    body: Body | None,
    sides: Sides | None,
    provenance: dict[str, Any],
) -> Written:
    """The mesh of the surface (vertices in world units), textured from the views and the photos."""
    from img2mv3d.stages.export import export

    mesh = export(surface, views, subject, back=back, body=body, sides=sides, options=context.options)
    if offer := mesh.notes.get("offer"):
        context.note(offer)
    return Written(mesh, context.options, provenance)
