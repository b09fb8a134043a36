"""What each stage is called with: values, networks on the right device, its own options and random numbers.

In: the flow that runs, the values of a stage's inputs. Out: what the stage gives, with `save(folder)`.
Why here: stages are pure and pipeline knows no stage by name, and importing it costs nothing; this table joins them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d import machine
from img2mv3d.errors import ResourceError, UsageError, WeightsError
from img2mv3d.files.durable import digest_file
from img2mv3d.flow.watch import with_less
from img2mv3d.plans import ExportOptions, GenerateOptions

if TYPE_CHECKING:
    import torch

    from img2mv3d.flow.pipeline import Flow
    from img2mv3d.nets.generator import GeneratorNets
    from img2mv3d.values import BackSubject, Depth, Latents, Mesh, Subject, Surface, Views


LARGE = 100_000_000  # parameters of a denoiser from which the branches of the guidance go one after the other


def ready_torch(device: str) -> torch.device:
    """Torch with as many threads as this process may use, and the device by that name ("cpu", "cuda", "cuda:1").

    Raises UsageError on a name that torch does not know, ResourceError when the device is not there.
    """
    import torch

    if torch.get_num_threads() != machine.thread_count():
        torch.set_num_threads(machine.thread_count())
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UsageError(f"--device {device}: expected auto, cpu or cuda") from None
    if found.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {device}: expected auto, cpu or cuda")
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


def matting_digest() -> str | None:
    """sha256 of the matting model that `--remover auto` would take, None without one. Raises WeightsError."""
    from img2mv3d.matting.model import find_model

    model = find_model()
    return None if model is None else digest_file(model)


def check_format(format: str) -> None:
    """Raises UsageError when this installation cannot write the format: better now than after all the work."""
    if format == "usdz" and importlib.util.find_spec("pxr") is None:
        raise UsageError("usdz files need usd-core, which is not installed; pip install 'img2mv3d[usd]'")


def check_latent_space(latents: Latents, decoders: str) -> None:
    """Raises WeightsError when the latents were not made for decoders of the space `decoders` ("sd-1.x")."""
    found = latents.vae.get("name")
    if found != decoders:
        raise WeightsError(
            f"these latents are of the space {found!r}, the decoders of {decoders!r}; name their bundle with --bundle"
        )


def prepare(flow: Flow, photo: Path, mask: Path | None, matting: Any) -> Subject:
    """Read the photo (and mask), cut the object out, frame it."""
    from img2mv3d.readers.photos import read_mask, read_photo
    from img2mv3d.stages.prepare import prepare

    picture = read_photo(photo)
    cover = None if mask is None else read_mask(mask)
    if flow.until != "prepare":
        warm_up()
    return prepare(picture, framing_px=flow.framing_px, options=flow.plan.prepare, mask=cover)


def back(flow: Flow, photo: Path, subject: Subject, matting: Any) -> BackSubject:
    """Read a photo of the back, cut the object out, frame it like the front."""
    from img2mv3d.readers.photos import read_photo
    from img2mv3d.stages.back import back
    from img2mv3d.stages.prepare import prepare

    framing_px = subject.framing.framing_px
    picture = read_photo(photo)
    found = prepare(picture, framing_px=framing_px, options=replace(flow.plan.prepare, framing_px=framing_px))
    return back(found, subject, picture.name)


def generate(flow: Flow, subject: Subject) -> Latents:
    """Latents of six views, float32 [6, 4, h, w] each of colours and normals."""
    device = ready_torch(flow.device)
    import torch

    from img2mv3d.stages.generate import generate

    nets = flow.bundle.generator()
    if device.type != "cpu":
        nets = nets.to(device, torch.float16)
    told = {"options": flow.plan.generate, "seed": flow.plan.seed, "progress": flow.progress("generate")}

    def attempt(at_once: bool) -> Latents:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        rng = torch.Generator().manual_seed(flow.seed_of("generate"))
        return generate(subject, generator=nets, rng=rng, at_once=at_once, **told)

    attempts = {"one branch of the guidance after the other": partial(attempt, False)}
    if at_once(flow, nets):
        attempts = {"both branches at once": partial(attempt, True), **attempts}
    try:
        return with_less(attempts, flow.note)
    except ValueError as error:
        if flow.plan.generate == GenerateOptions():
            raise  # nobody asked for anything: a defect of ours
        raise UsageError(str(error)) from None


def at_once(flow: Flow, nets: GeneratorNets) -> bool:
    """Whether both branches of the guidance go through the denoiser together: where it is small, or fits a card whose
    memory --vram tells."""
    if flow.plan.vram is not None and flow.device != "cpu":
        from img2mv3d.bundles.forecast import fits

        asked = flow.plan.generate
        steps, guidance = asked.steps or nets.steps, nets.guidance if asked.guidance is None else asked.guidance
        return fits(flow.bundle, flow.plan.vram, steps=steps, guidance=guidance)
    return sum(p.numel() for p in nets.unet.parameters()) < LARGE


def encode(flow: Flow, pictures: Views) -> Latents:
    """Latents of views that were given as pictures."""
    device = ready_torch(flow.device)
    from img2mv3d.stages.encode import encode

    bundle = flow.bundle
    return encode(pictures, encoder=bundle.encoder().to(device), vae=bundle.vae, bundle=bundle.name)


def depth(flow: Flow, latents: Latents, given: str | Path | None) -> Depth:
    """Plain views, and the depth of a quick fit to them (or what was given in its place)."""
    device = ready_torch(flow.device)
    from img2mv3d.stages.depth import fit_depth, plain_views
    from img2mv3d.stages.given import given_depth, plain_colors

    check_latent_space(latents, flow.bundle.vae["name"])
    decoder = flow.bundle.plain_decoder().to(device)
    plain = (
        plain_views(latents, decoder=decoder) if latents.normal is not None else plain_colors(latents, decoder=decoder)
    )
    if given is not None:
        return given_depth(plain, given)
    return fit_depth(plain, options=flow.plan.depth, progress=flow.progress("depth"))


def decode(flow: Flow, latents: Latents, depth: Depth, back: BackSubject | None = None) -> Views:
    """Pixel-aligned views, float32 [V, H, W, 3]."""
    device = ready_torch(flow.device)
    from img2mv3d.stages.decode import decode

    chosen = flow.decoder
    check_latent_space(latents, chosen.space)
    if flow.plan.decode.decoder != "plain":
        flow.note(f"decoded by {chosen.name}: {chosen.why}")

    def attempt(place: torch.device) -> Views:
        return decode(latents, depth, decoder=chosen.make().to(place), options=flow.plan.decode, back=back)

    attempts = {str(device): partial(attempt, device)}
    if device.type != "cpu":
        attempts["on the processor"] = partial(attempt, ready_torch("cpu"))
    return with_less(attempts, flow.note)


def reconstruct(flow: Flow, views: Views) -> Surface:
    """The final surface, an SDF [N, N, N] in world units."""
    ready_torch("cpu")
    from img2mv3d.stages.reconstruct import reconstruct

    return reconstruct(views, options=flow.plan.reconstruct, progress=flow.progress("reconstruct"))


@dataclass(frozen=True)
class Written:
    """A mesh that is saved as the options ask for, next to mesh.json with what was checked."""

    mesh: Mesh
    options: ExportOptions
    provenance: dict[str, Any]

    @property
    def warnings(self) -> tuple[str, ...]:
        """The mesh's own, one sentence each."""
        return tuple(self.mesh.notes.get("warnings", ()))

    def save(self, folder: Path) -> None:
        """Write mesh.<format> and mesh.json into `folder`."""
        from img2mv3d.files.formats import write_json
        from img2mv3d.mesh.files import write_mesh

        size = {"size_mm": self.options.size_mm, "height_mm": self.options.height_mm, "up": self.options.up}
        facts = write_mesh(self.mesh, folder / f"mesh.{self.options.format}", **size, provenance=self.provenance)
        write_json(folder / "mesh.json", {**self.mesh.notes, **facts, "provenance": self.provenance})


def export(
    flow: Flow,
    surface: Surface,
    views: Views,
    subject: Subject | None,
    back: BackSubject | None,
    provenance: dict[str, Any],
) -> Written:
    """The mesh of the surface (vertices in world units), textured from the views and the photos."""
    from img2mv3d.stages.export import export

    mesh = export(surface, views, subject, back=back, options=flow.plan.export)
    if offer := mesh.notes.get("offer"):
        flow.note(offer)
    return Written(mesh, flow.plan.export, provenance)


VERBS: Mapping[str, Callable[..., Any]] = {
    "prepare": prepare,
    "back": back,
    "encode": encode,
    "generate": generate,
    "depth": depth,
    "decode": decode,
    "reconstruct": reconstruct,
    "export": export,
}
