"""Bundles: written, found, checked; every fault is one line that says what to do."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from checkpoints import tiny_checkpoint
from toys import toy_bundle

from img2mv3d.bundles.weights import Bundle, kept_loaded, load_bundle, write_bundle
from img2mv3d.errors import WeightsError


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


def test_a_bundle_that_is_kept_loaded_reads_its_networks_once(made):
    kept = kept_loaded(made)
    assert kept.plain_decoder() is kept.plain_decoder() and kept.generator() is kept.generator()
    assert kept.generator().encoder is kept.encoder() and isinstance(kept, Bundle) and kept.digest == made.digest
    assert made.plain_decoder() is not made.plain_decoder()


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
        ("steps = 2", "stepz = 2", "must have schedule, steps"),
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
    assert ("weights fetch wonder3d" if name == "wonder3d" else "give mini") in str(caught.value)


def test_a_checkpoint_folder_says_what_it_lacks(tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(json.dumps({"act_fn": "silu"}))
    with pytest.raises(WeightsError, match="no weights; expected diffusion_pytorch_model"):
        load_bundle(tmp_path).generator()


def test_finding_a_bundle_and_its_digest_loads_no_torch(made):
    code = f"""
import sys
from img2mv3d.bundles.weights import load_bundle
assert load_bundle({str(made.folder)!r}).digest == {made.digest!r}
heavy = {{"torch", "diffusers", "transformers", "safetensors"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_checkpoint_is_taken_in_every_form(tmp_path):
    """Half precision, pickled, names and flags of the first release, old attention names, a buffer of 2023's library:
    the same networks come out."""
    from safetensors.torch import load_file

    plain, other = (tiny_checkpoint(tmp_path / name, ".safetensors") for name in ("plain", "other"))
    new_vae = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    for part, words in (("unet", {"_joint_mid.": "_joint_twice."}), ("vae", new_vae), ("image_encoder", {})):
        path = next((other / part).glob("*.safetensors"))
        tensors = load_file(path)
        for new, old in words.items():
            assert any(new in k for k in tensors)
            tensors = {k.replace(new, old): t for k, t in tensors.items()}
        pickled = "pytorch_model.bin" if part == "image_encoder" else "diffusion_pytorch_model.bin"
        tensors = {k: t.half() if t.is_floating_point() else t for k, t in tensors.items()}
        assert part != "image_encoder" or "vision_model.embeddings.position_ids" in tensors
        torch.save(tensors, other / part / pickled, _use_new_zipfile_serialization=part != "vae")
        path.unlink()
    config = json.loads((other / "unet" / "config.json").read_text())
    del config["cd_attention_mid"], config["cd_attention_last"]
    assert config["joint_attention_twice"]
    (other / "unet" / "config.json").write_text(json.dumps(config))
    (other / "model_index.json").unlink()
    nets = [load_bundle(folder) for folder in (plain, other)]
    made = [(b.generator(), b.plain_decoder()) for b in nets]
    for ours, theirs in zip(*[[g.unet, g.condition, d] for g, d in made], strict=True):
        for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a.half(), b.half()), name
            assert b.dtype in (torch.float32, torch.int64)


def test_a_spare_tensor_beside_both_halves_of_the_autoencoder_is_noticed(tmp_path):
    from safetensors.torch import load_file, save_file

    path = tiny_checkpoint(tmp_path / "tiny") / "vae" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(path) | {"loss.weight": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match=r"1 tensors spare: loss\.weight"):
        load_bundle(tmp_path / "tiny").plain_decoder()
