"""Number for number: what the original code gave, as recorded, against what ours gives.

`python -m experiments.parity RECORDS -o experiments/reports/parity.md`. RECORDS holds unet/, unet_variants/, pipeline/,
cameras/, preprocess/ and svd_vae/, with small random weights.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from img2mv3d.bundles.convert import load_strictly, read_config, read_table, read_tensors, rename, unet_numbers
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.diffusion.contract import Condition, conditioned
from img2mv3d.diffusion.sampler import make_scheduler, sample
from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.geometry.cameras import SIX_VIEWS, project, rays
from img2mv3d.geometry.framing import frame
from img2mv3d.nets.clip import CLIP_MEAN, CLIP_STD, ClipCondition, clip_pixels, cut_to_bytes
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig, pack
from img2mv3d.nets.temporal import TemporalBase

TOLERANCE = 1e-4
WORLD_FROM_WONDER3D = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # (x, y, z) -> (x, z, -y)
EXACT = 1e-6  # of camera numbers, which are stored with 2e-7 of noise
PIXELS = 1e-4  # of projected points, px
RUNS = {  # guidance, eta, photos, cameras; runs that share a generator stand in one line
    ("g1_eta0",): ((1.0,), 0.0, "image_a", "camera_embedding_one_object"),
    ("g3_eta0",): ((3.0,), 0.0, "image_a", "camera_embedding_one_object"),
    ("g1_eta1",): ((1.0,), 1.0, "image_a", "camera_embedding_one_object"),
    ("g3_eta1",): ((3.0,), 1.0, "image_a", "camera_embedding_one_object"),
    ("pil_default_camera",): ((3.0,), 0.0, "image_a", "default_camera_table"),
    ("two_objects_g3_eta0",): ((3.0,), 0.0, "image_a image_b", "camera_embedding_two_objects"),
    ("shared_gen_1", "shared_gen_2"): ((1.0, 3.0), 1.0, "image_a", "camera_embedding_one_object"),
}
LAST_OF_LEVEL = ("downsamplers", "upsamplers", "attentions", "resnets")
SEED = 42  # of every recorded run


@dataclass(frozen=True)
class Row:
    """One recorded quantity.

    most, mean: of the absolute differences.
    tolerance: what they may be at most.
    """

    case: str
    quantity: str
    most: float
    mean: float
    tolerance: float

    @property
    def good(self) -> bool:
        """Is the largest difference within the tolerance? NaN is not."""
        return self.most <= self.tolerance


def rows(records: Path) -> Iterator[Row]:
    """Every case of the folder; what its README lists must be there. Raises WeightsError or OSError when it is not."""
    yield from unet_rows(records / "unet", "unet")
    cases = sorted(p for p in (records / "unet_variants").iterdir() if p.is_dir())
    for case in cases:
        yield from unet_rows(case, f"unet_variants/{case.name}")
    yield from pipeline_rows(records / "pipeline")
    yield from clip_rows(records / "pipeline")
    yield from camera_rows(records / "cameras")
    yield from framing_rows(records / "preprocess")
    yield from video_rows(records / "svd_vae")


def table(found: Iterable[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| case | quantity | max abs | mean abs | tolerance | |", "|---|---|---|---|---|---|"]
    for row in found:
        numbers = " | ".join("0" if n == 0 else f"{n:.1e}" for n in (row.most, row.mean, row.tolerance))
        lines.append(f"| {row.case} | {row.quantity} | {numbers} | {'under' if row.good else '**OVER**'} |")
    return "\n".join(lines)


@torch.no_grad()
def unet_rows(folder: Path, case: str) -> Iterator[Row]:
    """Every recorded call of a UNet, and the modules inside that were listened to."""
    config = read_config(folder / "config.json")
    numbers = unet_numbers(config, read_table("wonder3d", "layout")["unet"], str(folder))
    net = MultiViewUNet(UNetConfig.from_dict(numbers)).eval()
    weights = rename(read_tensors(folder / "weights.safetensors"), read_table("wonder3d", "names")["unet"], str(folder))
    load_strictly(net, weights, str(folder))
    record = read_tensors(folder / "io.safetensors")
    calls = sorted({k.rpartition(".")[0] for k in record if k.rpartition(".")[2] == "out"})
    for call in calls:
        names = ("sample", "timestep", "encoder_hidden_states", "class_labels")
        given = [record.get(f"{call}.{name}".lstrip("."), record.get(name)) for name in names]
        heard = {k.removeprefix(f"{call}.mid."): t for k, t in record.items() if call and k.startswith(f"{call}.mid.")}
        with _listening(net, heard) as said:
            out = net(*given)
        yield _row(case, f"predicted noise{f', {call}' if call else ''}", out, record[f"{call}.out".lstrip(".")])
        if heard:
            yield _worst(case, f"{len(heard)} intermediate results, {call}", [(said[k], heard[k]) for k in heard])


@torch.no_grad()
def pipeline_rows(folder: Path) -> Iterator[Row]:
    """The eight recorded runs, from photo to latents, and to pictures where they were kept."""
    record = read_tensors(folder / "io.safetensors")
    bundle = load_bundle(folder / "checkpoint")
    nets, decoder = bundle.generator(), bundle.plain_decoder()
    for steps in (4, 20, 50):
        found = make_scheduler(SCHEDULES[nets.schedule], "ddim", steps).timesteps
        yield _row("pipeline", f"timesteps of {steps} steps", found, record[f"scheduler.timesteps_{steps}"], 0.0)
    levels = torch.tensor(SCHEDULES[nets.schedule].alpha_bar)
    yield _row("pipeline", "noise levels", levels, record["scheduler.alphas_cumprod"], 1e-6)
    for names, (guidances, eta, photos, camera) in RUNS.items():
        rng = torch.Generator().manual_seed(SEED)
        condition = _condition(nets.condition, [record[p] for p in photos.split()], record[camera])
        for name, guidance in zip(names, guidances, strict=True):
            case = f"pipeline/{name}"
            noise = torch.randn(record[f"{name}.init_noise"].shape, generator=rng)
            yield _row(case, "initial noise", noise, record[f"{name}.init_noise"], 1e-6)
            seen: list[Tensor] = []
            denoise = _remembering(conditioned(nets.unet, condition, guidance), seen)
            count, schedule = len(record[f"{name}.timesteps"]), SCHEDULES[nets.schedule]
            out = sample(denoise, noise, schedule, steps=count, solver="ddim", eta=eta, rng=rng)
            yield _row(case, f"predicted noise, {count} steps", torch.stack(seen), record[f"{name}.noise_pred"])
            yield _row(case, "final latents", out, record[f"{name}.latents_after_step"][-1])
            if f"{name}.images" in record:
                yield _row(case, "pictures", decoder.decode(out).clamp(0, 1), record[f"{name}.images"])


@torch.no_grad()
def clip_rows(folder: Path) -> Iterator[Row]:
    """What the checkpoint's image encoder and autoencoder are told of a photo."""
    record, big = (read_tensors(folder / f"{name}.safetensors") for name in ("io", "clip_preprocess_256"))
    condition = load_bundle(folder / "checkpoint").generator().condition
    image = np.asarray(Image.open(folder / "clip_input_256.png").convert("RGB"))
    photo = torch.cat([record["image_a"], torch.ones(1, *record["image_a"].shape[1:])])
    small = cut_to_bytes(photo)
    yield _row("clip, 32 px", "bytes of the photo", small, record["image_a.uint8_after_to_pil"], 0.0)
    yield _row("clip, 32 px", "bytes after resizing", _bytes_of(clip_pixels(small)), record["clip.resized_uint8"], 0.0)
    yield _row("clip, 256 px", "bytes after resizing", _bytes_of(clip_pixels(image)), big["resized_uint8"], 0.0)
    seen = condition(photo)
    yield _row("clip, 32 px", "image token", seen.tokens, record["clip.image_embeds"])
    told_big = condition.tell(image, photo)
    yield _row("clip, 256 px", "image token", told_big.tokens, big["image_embeds"])
    yield _row("vae, 32 px", "condition latent", seen.latent[None], record["vae.condition_latents_scaled"])


def camera_rows(folder: Path) -> Iterator[Row]:
    """Rays, points and normals of the original loader in our world; the constants of the published weights."""
    poses = np.load(folder / "poses_rays.npz")
    turn = WORLD_FROM_WONDER3D
    for size in (256, 1024):
        made = [rays(c, poses[f"pix_{size}"].astype(float) + 0.5) for c in SIX_VIEWS.cameras(size)]
        along, start = poses[f"rays_d_{size}"] @ turn.T, poses[f"rays_o_{size}"] @ turn.T
        start = start - along * (start * along).sum(-1, keepdims=True)  # to our plane z = 0
        yield _row(f"cameras, {size} px", "directions", np.stack([d for _, d in made]), along, EXACT)
        yield _row(f"cameras, {size} px", "origins", np.stack([o for o, _ in made]), start, EXACT)
    points = poses["points"] @ turn.T
    places = np.stack([project(c, points)[0] - 0.5 for c in SIX_VIEWS.cameras(256)])
    yield _row("cameras, 256 px", "pixels of 40 points", places, poses["points_uv_256"], PIXELS)
    solid = np.load(folder / "normals_ellipsoid.npz")
    hit = (solid["masks"] > 0.5).reshape(solid["normals_rgba"].shape[:-1])
    code = solid["normals_rgba"][..., :3].astype(np.float64) / 255 * 2 - 1
    theirs = (solid["normals_world"] @ turn.T).reshape(code.shape)
    yield _row("cameras, ellipsoid", "world normals", code[hit], theirs[hit], EXACT)
    constants = np.load(folder / "camera_embeddings.npz")["camera_embeddings"][:, 1:]
    angles = read_table("wonder3d", "layout")["camera"]
    ours = np.radians(np.stack([angles["elevation_deg"], angles["azimuth_deg"]], axis=1))
    yield _row("cameras, embedding", "constants of the weights, radians", ours, constants, EXACT)


def framing_rows(folder: Path) -> Iterator[Row]:
    """Cut-outs framed as the original loader frames them: bytes of colour over white and of alpha."""
    record = np.load(folder / "tensors.npz")
    for key in sorted(k for k in record.files if k.endswith("__img")):
        name, framing_px = key.split("__")[:2]
        if not framing_px.isdigit():
            continue  # other canvases and backgrounds, or padding, which nobody uses with these weights
        image, _ = frame(np.array(Image.open(folder / f"{name}.png")), int(framing_px))
        picture = image.astype(np.float32) / 255
        alpha = picture[..., 3:]
        case = f"preprocess/{name}"
        yield _row(case, f"alpha, {framing_px} px", alpha, record[f"{name}__{framing_px}__alpha"], EXACT)
        over_white = picture[..., :3] * alpha + (1 - alpha)
        yield _row(case, f"colour over white, {framing_px} px", over_white, record[key], EXACT)


@torch.no_grad()
def video_rows(folder: Path) -> Iterator[Row]:
    """The temporal decoder: frames decoded together and one by one."""
    config = json.loads((folder / "config.json").read_text())
    net = TemporalBase(tuple(config["block_out_channels"]), config["layers_per_block"], groups=32)
    weights = np.load(folder / "decoder_weights.npz")
    tensors = {k.removeprefix("decoder."): torch.from_numpy(weights[k].astype(np.float32)) for k in weights.files}
    load_strictly(net, tensors, str(folder))
    record = read_tensors(folder / "io.safetensors")
    yield _row("svd_vae", "six frames together", net.run(record["latents"])[0], record["decoded_6"], 5e-5)
    yield _row("svd_vae", "three frames together", net.run(record["latents"][:3])[0], record["decoded_3_first3"], 5e-5)
    single = torch.cat([net.run(record["latents"][i : i + 1])[0] for i in range(2)])
    yield _row("svd_vae", "frames one by one", single, record["decoded_1_first2"], 5e-5)


def main(arguments: Sequence[str] | None = None) -> int:
    """python -m experiments.parity RECORDS -o experiments/reports/parity.md"""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("records", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("experiments/reports/parity.md"))
    given = parser.parse_args(arguments)
    found = list(rows(given.records))
    over = sum(not row.good for row in found)
    text = ABOUT.format(count=len(found), torch=torch.__version__, over=over or "none")
    given.out.write_text(f"{text}\n{table(found)}\n", encoding="utf-8")
    print(f"{given.out}: {len(found)} quantities, {over} over their tolerance")
    return 1 if over else 0


ABOUT = """# Parity with the original code

Written by `python -m experiments.parity RECORDS -o experiments/reports/parity.md`. RECORDS are inputs and outputs of
the original classes (Wonder3D d894f82, diffusers 0.19.3, CPU, fp32) with small random weights; ours ran with torch
{torch}, fp32. {count} quantities, over their tolerance: {over}. The published weights themselves have not been opened
by anybody who wrote this; whether a file fits them in names, shapes and counts is what `img2mv3d weights inspect` says.
"""


def _condition(see: ClipCondition, photos: Sequence[Tensor], camera: Tensor) -> Condition:
    """Rows (domain, object, view): every object sees its photo in all of its rows."""
    seen = [see(torch.cat([p, torch.ones(1, *p.shape[1:])])) for p in photos]
    latent, tokens = (torch.stack([t[i] for t in seen])[:, None].expand(-1, 6, *seen[0][i].shape) for i in (0, 1))
    return Condition(pack(latent, latent), pack(tokens, tokens), torch.cat([camera.sin(), camera.cos()], dim=1))


def _remembering(denoise: Any, seen: list[Tensor]) -> Any:
    def call(noisy: Tensor, t: Tensor) -> Tensor:
        seen.append(denoise(noisy, t))
        return seen[-1]

    return call


@contextlib.contextmanager
def _listening(net: nn.Module, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """What modules of these names say while the network is called; where the original calls a whole level, its last
    module. The attention over domains joins both halves along tokens here and along rows there."""
    said: dict[str, Tensor] = {}

    def hook(name: str) -> Any:
        def hear(module: nn.Module, given: Any, out: Tensor) -> None:
            said[name] = torch.cat(out.chunk(2, dim=1)) if "attn_joint" in name else out

        return hear

    handles = []
    for name in names:
        module = net.get_submodule(name)
        if name.startswith(("down_blocks.", "up_blocks.")) and name.count(".") == 1:
            parts = next(getattr(module, k) for k in LAST_OF_LEVEL if hasattr(module, k))
            module = parts[-1]
        handles.append(module.register_forward_hook(hook(name)))
    yield said
    for handle in handles:
        handle.remove()


def _bytes_of(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    return (pixels * std + mean).mul(255).round()


def _row(case: str, quantity: str, found: Any, recorded: Any, tolerance: float = TOLERANCE) -> Row:
    return _worst(case, quantity, [(found, recorded)], tolerance)


def _worst(case: str, quantity: str, pairs: Sequence[tuple[Any, Any]], tolerance: float = TOLERANCE) -> Row:
    """One row for several pairs of equal shape: the largest of all differences, and their mean."""
    off = [np.abs(_numbers(a) - _numbers(b).reshape(_numbers(a).shape)).ravel() for a, b in pairs]
    if not off or not all(part.size for part in off):
        return Row(case, quantity, float("nan"), float("nan"), tolerance)  # nothing compared is nothing shown
    every = np.concatenate(off)
    return Row(case, quantity, float(every.max()), float(every.mean()), tolerance)


def _numbers(values: Mapping[str, Any] | Tensor | np.ndarray) -> np.ndarray:
    return np.asarray(values.detach() if isinstance(values, Tensor) else values, np.float64)


if __name__ == "__main__":
    raise SystemExit(main())
