"""Photo to latents: the eight recorded runs of the original pipeline, and the stage on a toy bundle."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recipes import recorded_unet
from safetensors.torch import load_file
from toys import toy_bundle

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.diffusion.contract import Condition, conditioned
from img2mv3d.diffusion.sampler import sample
from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.nets.clip import clip_pixels, cut_to_bytes
from img2mv3d.nets.multiview import pack, unpack
from img2mv3d.plans import GenerateOptions
from img2mv3d.stages.generate import generate
from img2mv3d.values import Framing, Latents, Subject

GOLDEN = Path(__file__).parents[1] / "golden" / "pipeline"
TOLERANCE = 1e-4
RUNS = {  # guidance, eta; camera and photos as the record has them
    "g1_eta0": (1.0, 0.0),
    "g3_eta0": (3.0, 0.0),
    "g1_eta1": (1.0, 1.0),
    "g3_eta1": (3.0, 1.0),
    "pil_default_camera": (3.0, 0.0),
    "two_objects_g3_eta0": (3.0, 0.0),
}


@pytest.fixture(scope="module")
def record():
    return load_file(GOLDEN / "io.safetensors")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The recorded checkpoint in the form of the published folder: .bin, and without model_index.json."""
    folder = tmp_path_factory.mktemp("wonder3d") / "wonder3d"
    shutil.copytree(GOLDEN / "checkpoint", folder)
    (folder / "model_index.json").unlink()
    config = json.loads((folder / "unet" / "config.json").read_text())
    torch.save(recorded_unet(config, 3001, 1.0)[1], folder / "unet" / "diffusion_pytorch_model.bin")
    return load_bundle(folder)


@pytest.fixture(scope="module")
def nets(checkpoint):
    return checkpoint.generator()


@pytest.mark.parametrize("run", RUNS)
def test_a_recorded_run_is_repeated(run, nets, checkpoint, record):
    guidance, eta = RUNS[run]
    photos = ("image_a", "image_b") if run.startswith("two") else ("image_a",)
    out = repeat(nets, condition_of(nets, record, photos, camera_of(run, record)), record, run, guidance, eta, 42)
    assert (out - record[f"{run}.latents_after_step"][-1]).abs().max() <= TOLERANCE
    if f"{run}.images" in record:
        pictures = checkpoint.plain_decoder().decode(out).clamp(0, 1)
        assert (pictures - record[f"{run}.images"]).abs().max() <= TOLERANCE


def test_one_generator_serves_two_runs(nets, record):
    rng = torch.Generator().manual_seed(42)
    condition = condition_of(nets, record, ("image_a",), record["camera_embedding_one_object"])
    for run, guidance in (("shared_gen_1", 1.0), ("shared_gen_2", 3.0)):
        out = repeat(nets, condition, record, run, guidance, 1.0, rng)
        assert (out - record[f"{run}.latents_after_step"][-1]).abs().max() <= TOLERANCE


def test_a_naive_order_under_guidance_is_a_different_answer(nets, record):
    """The check above would notice: interleaving the branches changes the first prediction by more than its
    deviation.
    """
    condition = condition_of(nets, record, ("image_a",), record["camera_embedding_one_object"])

    def naive(noisy, t, tokens, camera):
        swap = torch.arange(24).reshape(4, 6)[[0, 2, 1, 3]].flatten()  # all without, then all with
        return nets.unet(noisy[swap], t, tokens[swap], camera[swap])[swap]

    noise, t = record["g3_eta0.init_noise"], record["g3_eta0.timesteps"][0]
    right, wrong = (conditioned(net, condition, 3.0)(noisy=noise, t=t) for net in (nets.unet, naive))
    assert (right - record["g3_eta0.noise_pred"][0]).abs().max() <= TOLERANCE
    assert (wrong - right).abs().max() > right.std()


def test_the_photo_is_cut_to_bytes_and_encoded_as_recorded(nets, record):
    photo = torch.cat([record["image_a"], torch.ones(1, 32, 32)])
    image = cut_to_bytes(photo)
    assert np.array_equal(image, record["image_a.uint8_after_to_pil"].numpy())
    told = nets.condition(photo)
    assert (told.latent - record["vae.condition_latents_scaled"][0]).abs().max() <= TOLERANCE
    assert (told.tokens - record["clip.image_embeds"]).abs().max() <= TOLERANCE


def test_clip_sees_pils_bicubic_bytes(nets, record):
    big = load_file(GOLDEN / "clip_preprocess_256.safetensors")
    image = np.asarray(Image.open(GOLDEN / "clip_input_256.png").convert("RGB"))
    for pixels, expected in (
        (clip_pixels(record["image_a.uint8_after_to_pil"].numpy()), record["clip.resized_uint8"]),
        (clip_pixels(image), big["resized_uint8"]),
    ):
        mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
        assert torch.equal((pixels * std + mean).mul(255).round().to(torch.uint8), expected)
    assert (nets.condition.tell(image, nets.camera).tokens - big["image_embeds"]).abs().max() <= TOLERANCE


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def test_published_weights_get_the_odd_constants_they_were_trained_with(nets):
    sines = nets.camera[:, :5]
    assert sines.shape == (12, 5)
    assert sines[3, 1].item() == pytest.approx(np.sin(0.52203655), abs=1e-6)  # back view: 29.9 degrees "up"
    assert (nets.steps, nets.solver, nets.framing_px, nets.vae["name"]) == (50, "ddim", 192, "sd-1.x")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toy_bundle(tmp_path_factory.mktemp("toy")).generator()


@pytest.fixture
def subject():
    image = np.zeros((256, 256, 4), np.uint8)
    image[64:192, 64:192] = (200, 60, 30, 255)
    return Subject(image, image, Framing((1.0, 1.0), (0.0, 0.0), 144))


def test_equal_seeds_give_equal_latents_and_others_do_not(toy, subject):
    a, b, c = (run_stage(toy, subject, seed) for seed in (1, 1, 2))
    assert np.array_equal(a.color, b.color) and np.array_equal(a.normal, b.normal)
    assert not np.array_equal(a.color, c.color)
    assert a.color.shape == a.normal.shape == (6, 4, 32, 32)
    assert np.array_equal(a.front, subject.image)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_denoiser_of_windows_sees_the_photos_rows_and_the_rest_is_white(toy, subject, guidance):
    seen = []
    white = torch.tensor([2.0, 1.3, 0.1, -1.1])
    watch = toy.unet.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
    latents = run_stage(replace(toy, white=white), subject, 1, GenerateOptions(guidance=guidance))
    watch.remove()
    assert set(seen) == {(20, 32)}  # rows 8 to 24 with two on either side
    for maps in (latents.color, latents.normal):
        away = np.concatenate([maps[:, :, :6], maps[:, :, 26:]], axis=2)
        assert np.allclose(away, white.numpy()[None, :, None, None])
        assert not np.allclose(maps[:, :, 6:26], white.numpy()[None, :, None, None])


def test_what_was_done_is_written_down_and_survives_the_file(toy, subject, tmp_path):
    seen = []
    latents = run_stage(toy, subject, 7, GenerateOptions(steps=3, guidance=2.0, solver="ddim"), seen)
    latents.save(tmp_path)
    again = Latents.load(tmp_path)
    assert again.settings == {"steps": 3, "guidance": 2.0, "solver": "ddim", "eta": 0.0}
    assert (again.seed, again.bundle, again.vae["name"], again.framing_px) == (7, "toy", "sd-1.x", 144)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_bundles_own_choices_stand_where_nothing_is_asked(toy, subject):
    settings = run_stage(toy, subject, 0).settings
    assert settings == {"steps": 2, "guidance": 1.0, "solver": "dpmpp", "eta": 0.0}


def test_the_photo_matters(toy, subject):
    other = Subject(subject.image[:, :, [2, 1, 0, 3]].copy(), subject.full, subject.framing)
    assert not np.array_equal(run_stage(toy, subject, 0).color, run_stage(toy, other, 0).color)


def run_stage(nets, subject, seed, options=None, seen=None):
    rng = torch.Generator().manual_seed(seed)
    progress = None if seen is None else lambda *counts: seen.append(counts)
    return generate(
        subject, generator=nets, options=options or GenerateOptions(), rng=rng, seed=seed, progress=progress
    )


def camera_of(run, record):
    if run.startswith("two"):
        return record["camera_embedding_two_objects"]
    return record["default_camera_table" if "default" in run else "camera_embedding_one_object"]


def condition_of(nets, record, photos, camera):
    """Rows (domain, object, view): every object sees its photo in all of its rows."""
    told = [nets.condition(torch.cat([record[p], torch.ones(1, 32, 32)])) for p in photos]
    latent, tokens = (torch.stack([t[i] for t in told])[:, None].expand(-1, 6, *told[0][i].shape) for i in (0, 1))
    return Condition(pack(latent, latent), pack(tokens, tokens), torch.cat([camera.sin(), camera.cos()], dim=1))


@torch.no_grad()
def repeat(nets, condition, record, run, guidance, eta, rng):
    """The run with a generator that draws as the original did; its noise must be the recorded one."""
    rng = torch.Generator().manual_seed(rng) if isinstance(rng, int) else rng
    noise = torch.randn(record[f"{run}.init_noise"].shape, generator=rng)
    assert torch.allclose(noise, record[f"{run}.init_noise"], atol=1e-6)
    steps, schedule = len(record[f"{run}.timesteps"]), SCHEDULES[nets.schedule]
    denoise = conditioned(nets.unet, condition, guidance)
    out = sample(denoise, noise, schedule, steps=steps, solver="ddim", eta=eta, rng=rng)
    assert unpack(out, 6)[0].shape[1] == 6
    return out
