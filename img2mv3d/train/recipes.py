"""The trainings as people start them: what a network learns from, in which order, and the bundle that comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from img2mv3d.bundles.weights import Bundle, load_bundle, write_bundle
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
from img2mv3d.nets.shape import ShapeConfig, ShapeNet
from img2mv3d.nets.tokens import TokenConfig, TokenEncoder
from img2mv3d.nets.vae import Encoder, PlainDecoder
from img2mv3d.train import crossview_decoder, decoder, denoiser, encoder, paper_recipe, shape_network
from img2mv3d.train.denoiser import UNET, MultiViewNets, take_over
from img2mv3d.train.drafts import draft_missing
from img2mv3d.train.notes import FRAMING_PX, bundle_notes
from img2mv3d.train.process_group import joined, left
from img2mv3d.train.toy import make_toy

SHARES = {"shape": 0.4, "encoder": 0.05, "decoder": 0.2, "crossview": 0.15, "multiview": 0.2}  # of the minutes
EMBEDDED = "mini"  # whose encoder makes latents where no teacher's are at hand

ENCODER = {"channels": [64, 128], "blocks": [2, 4]}
DECODER = {"channels": [32, 32, 64, 128], "layers_per_block": 1, "groups": 8, "scale": 1.0, "post_quant": False}
TOKENS = TokenConfig()

TOY_ENCODER = {"channels": [8, 8], "blocks": [1, 1]}
TOY_DECODER = {"channels": [32, 32, 32, 32], "layers_per_block": 1, "groups": 8, "scale": 1.0, "post_quant": False}
TOY_UNET = UNetConfig((8, 16), ("off", "views", "views"), (1, 1), token_width=8, groups=4)
TOY_SHAPE = ShapeConfig(widths=(16, 16, 16, 16), layers=1, fills=8, ratios=16)
TOY_TOKENS = TokenConfig((8, 8, 8, 8), 8, 4, 4)

Say = Callable[[str], None]


def train_encoder(data: Path, out: Path, minutes: float, *, seed: int, start: Bundle | None, report: Say) -> None:
    """The small image encoder into `out`. start: a bundle whose encoder it begins with."""
    net = None if start is None else start.encoder().requires_grad_(True)
    encoder.train(data, out, minutes, seed=seed, net=net, report=report)


def train_shape(data: Path, out: Path, minutes: float, *, seed: int, start: Bundle | None, report: Say) -> Path:
    """The shape network into `out`, and the path of out/bundle: the parts of `start`, if there is one, with the network
    in its place.

    data: what `data shapes` made.
    start: a bundle; its shape network, if it has one, is gone on with.
    """
    torch.manual_seed(seed)
    net = start.shape().requires_grad_(True) if start is not None and "shape" in start.parts() else None
    trained = shape_network.train(data, out, minutes, seed=seed, net=net, report=report)
    if start is not None:
        shutil.copytree(start.folder, out / "bundle", dirs_exist_ok=True)
    notes = {"name": "trained" if start is None else start.name, "framing_px": FRAMING_PX}
    write_bundle(out / "bundle", {"shape": (trained, trained.config.to_dict())}, notes)
    return out / "bundle"


def train_multiview(data: Path, out: Path, minutes: float, *, seed: int, start: Bundle | None, report: Say) -> None:
    """The denoiser into `out`.

    start: a bundle whose denoiser it begins with; its decoder shows how it gets on, and its shape network drafts those
        sets that have no draft yet, a second or two each.
    """
    net = MultiViewNets(MultiViewUNet(UNET), TokenEncoder(TOKENS))
    parts = {}
    if start is not None:
        generator = start.generator()
        take_over(net, generator.unet, generator.condition.tokens)
        parts = {"decoder": start.plain_decoder(), "encoder": start.encoder()}
        if "shape" in start.parts():
            draft_missing(data, start.shape(), start.encoder(), report)
    denoiser.train(data, out, minutes, seed=seed, net=net, report=report, **parts)


def train_decoder(
    data: Path,
    out: Path,
    minutes: float,
    *,
    seed: int,
    start: str | None,
    steps: int | None,
    keep_plain: bool,
    full: bool,
    recipe: str | None = None,
    device: torch.device | str = "cpu",
    report: Say,
) -> Path | None:
    """The plain decoder and the cross-view decoder that stands on it; the path of out/bundle, which holds both, for
    `eval consistency`. None in a process that is not the first of its group.

    start: a bundle; its denoiser resamples half of the latents that both learn from, and its decoders are gone on with.
    keep_plain: its plain decoder is left as it is, and the cross-view decoder starts from nothing.
    recipe: "paper": the cross-view decoder is trained by `paper_recipe`, and starts from nothing.
    steps, full, device: see `crossview_decoder.train`.
    """
    bundle = None if start is None else load_bundle(start)
    resample = partial(decoder.resampler, None if bundle is None else bundle.generator(), seed)
    plain = None if bundle is None else bundle.plain_decoder().requires_grad_(True)
    if not keep_plain:  # a third of the time: what looks across views stands on it
        plain_options = {"seed": seed, "net": plain, "resample": resample((999, 999)), "report": report}
        plain = decoder.train(data, out / "plain", minutes / 3, **plain_options)
    plain_numbers = numbers = _plain_numbers(bundle)
    options = {"steps": steps, "seed": seed, "full": full, "device": device, "report": report}
    left_over, folder = minutes if keep_plain else minutes * 2 / 3, crossview_decoder.folder_in(out)
    if recipe == "paper":
        numbers, folder = {**numbers, **paper_recipe.NUMBERS}, out / "crossview-paper"
        options |= {"task": paper_recipe.PaperTask}
    else:
        former = bundle.crossview_decoder().state_dict() if bundle and not keep_plain else None
        options |= {"start": former, "resample": resample((250, 999))}
    across = crossview_decoder.train(data, plain.state_dict(), folder, left_over, numbers=numbers, **options)
    parts = {"plain_decoder": (plain.eval(), plain_numbers), "crossview_decoder": (across, numbers)}
    if not joined().first:
        left()
        return None
    words = [f"--seed {seed}", f"--steps {steps}" if steps else f"--minutes {minutes:g}"]
    words += [] if start is None else [f"--start {Path(start).name}"]
    words += ["--keep-plain"] * keep_plain + ["--full-images"] * full
    words += [f"--recipe {recipe}"] if recipe else []
    training = {"command": " ".join(["img2mv3d train decoder DATA", *words])}
    training |= {"processes": joined().size} if joined().size > 1 else {}
    write_bundle(out / "bundle", parts, {"name": "crossview", **bundle_notes(data, training)})
    left()
    return out / "bundle"


def train_all(data: Path, out: Path, minutes: float, *, toy: bool = False, seed: int = 0, report: Say = print) -> Path:
    """Train everything within the minutes (wall clock) and write the bundle `out`/bundle; its path is returned.

    data: what `data render` made, and in its folder shapes what `data shapes` made; without these the bundle gets no
        shape network, and its denoiser begins with noise. Without a teacher's latents the encoder of `mini` makes them.
    toy: make toy data in `data` and train tiny networks on it.

    Each training resumes from its own folder under `out`.
    """
    data, out = Path(data), Path(out)
    if toy:
        make_toy(data)
    torch.manual_seed(seed)
    _, decoder_numbers, unet_config, token_config = sizes = _sizes(toy)
    shared = {"seed": seed, "report": report}
    has_shapes, has_teacher = (data / "shapes" / "train").is_dir(), encoder.has_teacher(data)
    budget = _budget(minutes, has_shapes, has_teacher)

    parts: dict[str, Any] = {}
    if has_shapes:
        tiny = ShapeNet(TOY_SHAPE) if toy else None
        body = shape_network.train(data / "shapes", out / "shape", budget["shape"], net=tiny, **shared)
        parts["shape"] = (body, body.config.to_dict())
    else:
        report(f"no shapes in {data / 'shapes'}: `img2mv3d data shapes CORPUS -o {data / 'shapes'}` makes them")
    small, encoder_numbers = _encoder(data, out, budget["encoder"], sizes[0], has_teacher, **shared)
    report(f"encoded {encoder.encode_missing(data, small)} sets that had no latents")
    plain_net = PlainDecoder(**_tuples(decoder_numbers))
    plain = decoder.train(data, out / "decoder", budget["decoder"], net=plain_net, **shared)
    numbers = _tuples(decoder_numbers)
    across = crossview_decoder.train(
        data, plain.state_dict(), out / "crossview", budget["crossview"], numbers=numbers, **shared
    )
    if has_shapes:
        report(f"made {draft_missing(data, body, small, report)} drafts for the denoiser")
    views_net = MultiViewNets(MultiViewUNet(unet_config), TokenEncoder(token_config))
    views = denoiser.train(
        data, out / "multiview", budget["multiview"], net=views_net, decoder=plain, encoder=small, **shared
    )

    parts |= {
        "encoder": (small, encoder_numbers),
        "plain_decoder": (plain, decoder_numbers),
        "crossview_decoder": (across, decoder_numbers),
        "tokens": (views.tokens, token_config.to_dict()),
        "unet": (views.unet, unet_config.to_dict()),
    }
    command = f"img2mv3d train all --minutes {minutes:g} --seed {seed}" + (" --toy" if toy else "")
    manifest = bundle_notes(data, {"command": command, "minutes": minutes})
    write_bundle(out / "bundle", parts, {"name": "toy" if toy else "trained", **manifest})
    return out / "bundle"


def _sizes(toy: bool) -> tuple[dict[str, Any], dict[str, Any], UNetConfig, TokenConfig]:
    """Of the encoder, the decoders, the denoiser and its tokens."""
    return (TOY_ENCODER, TOY_DECODER, TOY_UNET, TOY_TOKENS) if toy else (ENCODER, DECODER, UNET, TOKENS)


def _budget(minutes: float, has_shapes: bool, has_teacher: bool) -> dict[str, float]:
    """Minutes of each training; those that do not take place leave theirs to the others."""
    takes_place = {"shape": has_shapes, "encoder": has_teacher}
    shares = {name: share * takes_place.get(name, True) for name, share in SHARES.items()}
    return {name: minutes * share / sum(shares.values()) for name, share in shares.items()}


def _encoder(
    data: Path, out: Path, minutes: float, numbers: dict[str, Any], has_teacher: bool, *, seed: int, report: Say
) -> tuple[Encoder, dict[str, Any]]:
    """(encoder, its numbers): trained on the teacher's latents, or the embedded one where there are none."""
    if has_teacher:
        net = Encoder(**_tuples(numbers))
        return encoder.train(data, out / "encoder", minutes, net=net, seed=seed, report=report), numbers
    report(f"{data} has no teacher's latents: the encoder of {EMBEDDED} makes them, and goes into the bundle")
    bundle = load_bundle(EMBEDDED)
    return bundle.encoder(), bundle.manifest["parts"]["encoder"]["config"]


def _plain_numbers(bundle: Bundle | None) -> dict[str, Any]:
    """Sizes of a bundle's plain decoder, for what stands on it."""
    return {} if bundle is None else _tuples(bundle.manifest["parts"]["plain_decoder"]["config"])


def _tuples(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's numbers as a constructor wants them."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()}
