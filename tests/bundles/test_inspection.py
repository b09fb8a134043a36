"""What a folder of weights holds, told without reading it: tiny, of full size, and broken in every way."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from img2mv3d.bundles.convert import check_shapes, read_table, rename
from img2mv3d.bundles.inspection import findings, is_foreign, read_shapes
from img2mv3d.cli import bundle as page
from img2mv3d.errors import WeightsError
from tests.checkpoints import SD_VAE, SVD_VAE, full_size, hollow, listed, sd_decoder_names, tiny_checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("made") / "tiny")


@pytest.fixture
def tiny(made: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(made, tmp_path / "tiny"))


def told(folder: Path) -> dict[str, str]:
    return {part: text for part, text, _ in findings(folder)}


def faults(folder: Path) -> dict[str, str]:
    return {part: text for part, text, good in findings(folder) if not good}


def test_a_published_folder_of_full_size_is_told_without_memory(tmp_path: Path) -> None:
    folder = full_size(tmp_path / "full")
    assert sum(p.stat().st_size for p in folder.rglob("*")) > 2_500_000_000
    said = told(folder)
    assert faults(folder) == {}
    assert "802 tensors, 910,785,284 numbers, float16; v1.0" in said["unet"]
    assert "248 tensors, 83,653,863 numbers, float16; Stable Diffusion's autoencoder" in said["vae"]
    assert "303,966,208 numbers, float16; CLIP ViT-L/14" in said["image_encoder"]


def test_a_full_size_network_without_joint_layers_is_the_first_release(tmp_path: Path) -> None:
    from tests.checkpoints import WONDER3D

    shapes = {k: s for k, (s, first) in listed("wonder3d_unet_keys").items() if first == "1"}
    hollow(tmp_path / "unet", shapes, WONDER3D | {"cd_attention_mid": False})
    assert "690 tensors, 861,186,244 numbers, float16; the first release" in told(tmp_path)["unet"]
    (tmp_path / "unet" / "config.json").write_text(json.dumps(WONDER3D))
    assert "112 tensors missing: down_blocks.0.attentions.0.transformer_blocks.0" in faults(tmp_path)["unet"]


def test_a_pickled_file_of_full_size_is_told_too(tmp_path: Path) -> None:
    shapes = {k: s for k, (s, _) in listed("wonder3d_unet_keys").items()}
    torch.save({k: torch.empty(s, device="meta", dtype=torch.float16) for k, s in shapes.items()}, tmp_path / "a.bin")
    assert read_shapes(tmp_path / "a.bin") == (shapes, ("float16",))


def test_the_video_autoencoder_is_told(tmp_path: Path) -> None:
    from diffusers import AutoencoderKLTemporalDecoder

    known = ("down_block_types", "block_out_channels", "layers_per_block", "latent_channels")
    with torch.device("meta"):
        net = AutoencoderKLTemporalDecoder(**{k: SVD_VAE[k] for k in known})
    shapes = {k: tuple(t.shape) for k, t in net.state_dict().items()}
    assert {k: s for k, s in shapes.items() if k.startswith("decoder.")} == {
        k: s for k, (s, _) in listed("svd_decoder_keys").items()
    }
    hollow(tmp_path, shapes, SVD_VAE)
    assert "374 tensors, 97,742,847 numbers, float16; Stable Video Diffusion's" in told(tmp_path)["vae"]
    (tmp_path / "config.json").write_text(json.dumps(SD_VAE))
    assert "tensors missing" in faults(tmp_path)["vae"] and "tensors spare" in faults(tmp_path)["vae"]


def test_full_size_networks_of_ours_have_the_published_names_and_shapes() -> None:
    from img2mv3d.nets.temporal import TemporalBase
    from img2mv3d.nets.vae import SD_CHANNELS, PlainDecoder

    with torch.device("meta"):
        video, plain = TemporalBase(SD_CHANNELS, 2, 32, 0.18215), PlainDecoder.stable_diffusion()
    theirs = {k: s for k, (s, _) in listed("svd_decoder_keys").items()}
    found = rename(theirs, read_table("svd", "names")["temporal_decoder"], "svd")
    check_shapes({k: tuple(t.shape) for k, t in video.state_dict().items()}, found, "svd")
    assert (len(theirs), sum(p.numel() for p in video.parameters())) == (266, 63_579_183)
    theirs = sd_decoder_names() | {"post_quant_conv.weight": (4, 4, 1, 1), "post_quant_conv.bias": (4,)}
    old = {k.replace(".to_q.", ".query.").replace(".to_out.0.", ".proj_attn."): s for k, s in theirs.items()}
    assert old != theirs
    for names in (theirs, old):
        found = rename(names, read_table("sd_vae", "names")["plain_decoder"], "sd")
        check_shapes({k: tuple(t.shape) for k, t in plain.state_dict().items()}, found, "sd")


def test_a_tiny_checkpoint_is_told_by_the_command(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page.weights_inspect(str(tiny))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", p] for p in ("unet", "vae", "image_encoder", "scheduler")]
    assert "diffusion_pytorch_model.bin, 240 tensors, 214,772 numbers, float32; of no published size" in lines[0]


def test_names_of_earlier_releases_are_told(tiny: Path) -> None:
    path = tiny / "unet" / "diffusion_pytorch_model.bin"
    tensors = torch.load(path, weights_only=True)
    torch.save({k.replace("_joint_mid.", "_joint_twice."): t.half() for k, t in tensors.items()}, path)
    assert "float16; names of an earlier release" in told(tiny)["unet"] and faults(tiny) == {}


def rewrite(part: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """A damage: the tensors of a part are changed and written again."""

    def damage(folder: Path) -> None:
        path = next(p for p in (folder / part).iterdir() if p.suffix in (".bin", ".safetensors"))
        tensors = torch.load(path, weights_only=True) if path.suffix == ".bin" else load_file(path)
        change(tensors)
        torch.save(tensors, path) if path.suffix == ".bin" else save_file(tensors, path)

    return damage


def configured(part: str, **values: object) -> Callable[[Path], None]:
    """A damage: values in a config are changed; those that are None are taken out."""

    def damage(folder: Path) -> None:
        path = next((folder / part).glob("*config.json"))
        config = json.loads(path.read_text()) | values
        path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    return damage


def torn(folder: Path) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


BROKEN = {
    "no unet file": (
        lambda f: (f / "unet" / "diffusion_pytorch_model.bin").unlink(),
        "unet: no weights; expected diffusion_pytorch_model.safetensors or diffusion_pytorch_model.bin; fetch",
    ),
    "no config": (lambda f: (f / "unet" / "config.json").unlink(), "cannot be read (No such file or directory); fetch"),
    "config of no JSON": (lambda f: (f / "vae" / "config.json").write_text("{"), "vae/config.json: cannot be read"),
    "config of another kind": (lambda f: (f / "vae" / "config.json").write_text("[]"), "holds no names and values"),
    "config without widths": (configured("vae", block_out_channels=None), "is this the config of a vae?"),
    "config without heads": (configured("unet", attention_head_dim=None), "lacks 'attention_head_dim'; is this the"),
    "other activation": (configured("unet", act_fn="gelu"), "act_fn is 'gelu', only silu is supported"),
    "other latents": (configured("vae", latent_channels=16), "latent_channels is 16, only 4 is supported"),
    "other noise": (configured("scheduler", prediction_type="v_prediction"), "prediction_type is 'v_prediction', only"),
    "torn": (torn, "diffusion_pytorch_model.safetensors: cannot be read as weights"),
    "missing": (
        rewrite("unet", lambda t: t.pop("conv_in.bias")),
        "1 tensors missing: conv_in.bias; the file is incomplete or its config.json is of a larger network: fetch",
    ),
    "spare": (
        rewrite("vae", lambda t: t.update({"extra.weight": torch.ones(1)})),
        "1 tensors spare: extra.weight; these are weights of another network: give file and config.json of one",
    ),
    "misshapen": (
        rewrite("image_encoder", lambda t: t.update({"visual_projection.weight": torch.ones(2, 2)})),
        "visual_projection.weight is (2, 2), expected (24, 32); these are weights of another network",
    ),
    "all three": (
        rewrite("unet", lambda t: t.update({"a": t.pop("conv_in.bias"), "conv_out.bias": torch.ones(9)})),
        "1 tensors missing: conv_in.bias; 1 tensors spare: a; 1 tensors of another shape: conv_out.bias is (9,), expe",
    ),
    "old and new names": (
        rewrite("unet", lambda t: t.update({k.replace("_mid.", "_twice."): v for k, v in list(t.items())})),
        "one file holds old and new names",
    ),
}


@pytest.mark.parametrize(("damage", "says"), BROKEN.values(), ids=BROKEN)
def test_every_fault_is_one_line_that_says_what_to_do(
    damage: Callable[[Path], object], says: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(tiny)
    with pytest.raises(WeightsError, match="something above is missing or wrong") as caught:
        page.weights_inspect(str(tiny))
    lines = capsys.readouterr().out.splitlines()
    assert "\n" not in str(caught.value) and len(lines) == 4
    wrong = [line for line in lines if line.startswith("FAIL")]
    assert len(wrong) == 1 and says in wrong[0]


def test_a_folder_of_something_else_is_no_checkpoint(tmp_path: Path) -> None:
    assert not is_foreign(tmp_path)
    with pytest.raises(WeightsError, match="no weights that img2mv3d knows"):
        list(findings(tmp_path))
    with pytest.raises(WeightsError, match="no bundle"):
        page.weights_inspect(str(tmp_path))
