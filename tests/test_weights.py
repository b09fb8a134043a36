"""Bundles: written, found, checked; every fault is one line that says what to do."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from toys import toy_bundle

from img2mv3d.errors import WeightsError
from img2mv3d.weights import Bundle, load_bundle, write_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return toy_bundle(tmp_path_factory.mktemp("made") / "toy")


@pytest.fixture
def toy(made, tmp_path):
    """A copy that may be damaged."""
    shutil.copytree(made.folder, tmp_path / "toy")
    return tmp_path / "toy"


def test_equal_networks_give_equal_bytes(made, tmp_path):
    assert toy_bundle(tmp_path / "again").digest == made.digest


def test_a_bundle_makes_its_networks_ready_to_use(made):
    assert (made.name, made.framing_px, made.vae["name"]) == ("toy", 144, "sd-1.x")
    nets = made.generator()
    for net in (made.encoder(), made.plain_decoder(), made.crossview_decoder(), nets.unet, nets.condition):
        assert not net.training and not any(p.requires_grad for p in net.parameters())
        assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert nets.camera.shape == (12, 10)


def test_probes_pass_on_what_was_written_and_fail_on_other_numbers(made, toy):
    made.check()
    manifest = toy / "manifest.toml"
    text = manifest.read_text()
    number = next(line for line in text.splitlines() if line.startswith("deviation"))
    manifest.write_text(text.replace(number, "deviation = 9.0", 1))
    with pytest.raises(WeightsError, match="computes something else"):
        load_bundle(toy).check()


def test_a_flipped_bit_is_noticed(toy):
    path = toy / "unet.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="not the file that"):
        load_bundle(toy).generator()


def test_a_changed_file_changes_the_digest(toy, made):
    (toy / "tokens.safetensors").write_bytes(b"")
    assert load_bundle(toy).digest != made.digest


@pytest.mark.parametrize(
    "old,new,told",
    [
        ("token_width = 8", "token_width = 9", "of another shape"),
        ("coordinates = true", "coordinated = true", "made for another version"),
        ('format = "img2mv3d-bundle/1"', 'format = "img2mv3d-bundle/9"', "fetch a bundle of this version"),
        ("steps = 2", "stepz = 2", "must tell schedule, steps"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(old, new, told, toy):
    manifest = toy / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(old, new))
    with pytest.raises(WeightsError, match=told):
        load_bundle(toy).generator()


def test_a_missing_file_or_part_is_named(toy):
    (toy / "encoder.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"encoder.safetensors: cannot be read"):
        load_bundle(toy)
    bare = Bundle("bare", toy, {"name": "bare", "framing_px": 1, "parts": {}}, "")
    with pytest.raises(WeightsError, match="has no crossview_decoder"):
        bare.crossview_decoder()


def test_parts_that_are_not_given_stay(toy):
    before = load_bundle(toy).manifest["parts"]
    net = torch.nn.Module()
    again = write_bundle(toy, {}, {"hours": 2.5, "figures": {"psnr": 30.0}})
    assert again.manifest["parts"] == before
    assert again.manifest["hours"] == 2.5 and again.manifest["generate"]["steps"] == 2
    with pytest.raises(WeightsError, match="unknown part 'vae'"):
        write_bundle(toy, {"vae": (net, {})}, {})


@pytest.mark.parametrize("name", ["nowhere", "wonder3d"])
def test_an_absent_bundle_is_one_line_with_the_next_step(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError) as caught:
        load_bundle(name)
    assert "\n" not in str(caught.value)
    assert ("fetch it" if name == "wonder3d" else "give mini") in str(caught.value)


def test_a_checkpoint_folder_says_what_it_lacks(tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"act_fn": "silu"}))
    with pytest.raises(WeightsError, match="no weights; expected diffusion_pytorch_model"):
        load_bundle(tmp_path).generator()


def test_finding_a_bundle_and_its_digest_loads_no_torch(made):
    code = f"""
import sys
from img2mv3d.weights import load_bundle
assert load_bundle({str(made.folder)!r}).digest == {made.digest!r}
heavy = {{"torch", "diffusers", "transformers", "safetensors"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
