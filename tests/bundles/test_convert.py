"""Foreign files: renamed by tables, loaded strictly, never run."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from recipes import recorded_unet
from safetensors.torch import load_file, save_file

from img2mv3d.bundles.convert import load_strictly, read_table, read_tensors, rename, unet_numbers, unfilled
from img2mv3d.errors import WeightsError

GOLDEN = Path(__file__).parents[1] / "golden"
UNET = read_table("wonder3d", "layout")["unet"]
NAMES = read_table("wonder3d", "names")


def test_names_of_the_first_release_become_ours():
    config = json.loads((GOLDEN / "unet" / "cd_mid_and_last_v0_names" / "config.json").read_text())
    net, weights = recorded_unet(config, 2201)
    old = {old_name(k): t for k, t in weights.items()}
    assert any("attn_joint_twice." in k for k in old) and any("attn_joint." in k for k in old)
    load_strictly(net, rename(old, NAMES["unet"], "old"), "old")


def test_old_attention_names_of_the_autoencoder_become_ours():
    new = load_file(GOLDEN / "pipeline" / "checkpoint" / "vae" / "diffusion_pytorch_model.safetensors")
    words = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    old = {}
    for name, tensor in new.items():
        for ours, theirs in words.items():
            name = name.replace(ours, theirs)
        old[name] = tensor
    assert len(set(old) - set(new)) == 16
    both = [rename(old, NAMES[part], "vae") for part in ("vae_encoder", "vae_decoder")]
    assert set(both[0]) | set(both[1]) == set(new) and not set(both[0]) & set(both[1])


def test_new_flags_decide_over_old_ones():
    config = json.loads((GOLDEN / "pipeline" / "checkpoint" / "unet" / "config.json").read_text())
    assert config["joint_attention_twice"] and config["cd_attention_mid"]
    assert unet_numbers(config, UNET, "c")["joint_mid"]
    assert not unet_numbers(config | {"cd_attention_mid": False}, UNET, "c")["joint_mid"]
    del config["cd_attention_mid"]
    assert unet_numbers(config, UNET, "c")["joint_mid"]


@pytest.mark.parametrize(
    "change,told",
    [
        ({"use_linear_projection": True}, "use_linear_projection is True"),
        ({"act_fn": "gelu"}, "act_fn is 'gelu'"),
        ({"down_block_types": ["DownBlock2D", "DownBlock2D"]}, "mirror"),
    ],
)
def test_a_config_that_our_network_cannot_be_is_refused(change, told):
    config = json.loads((GOLDEN / "unet" / "base" / "config.json").read_text())
    with pytest.raises(WeightsError, match=told):
        unet_numbers(config | change, UNET, "config.json")


@pytest.mark.parametrize(
    "damage,told",
    [
        (lambda t: t.pop("weight"), "1 tensors missing: weight"),
        (lambda t: t.update(extra=torch.ones(1)), "1 tensors spare: extra"),
        (lambda t: t.update(weight=torch.ones(3, 3)), r"weight is \(3, 3\), expected \(2, 3\)"),
        (lambda t: t["bias"].fill_(float("nan")), "not finite: bias"),
    ],
)
def test_weights_load_strictly_and_the_fault_is_named(damage, told):
    net = torch.nn.Linear(3, 2)
    tensors = {k: v.clone() for k, v in net.state_dict().items()}
    before = net.weight.clone()
    damage(tensors)
    with pytest.raises(WeightsError, match=told):
        load_strictly(net, tensors, "somewhere")
    assert torch.equal(net.weight, before)


def test_weights_are_taken_without_a_second_copy_and_without_random_numbers():
    """What keeps loading a checkpoint of full size within its own size."""
    state = torch.get_rng_state()
    with unfilled():
        net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Conv2d(2, 3, 3), torch.nn.Embedding(5, 2))
    assert torch.equal(torch.get_rng_state(), state)
    tensors = {k: torch.full(t.shape, 0.5) for k, t in net.state_dict().items()}
    load_strictly(net, tensors, "somewhere", take=True)
    assert {k: t.data_ptr() for k, t in net.state_dict().items()} == {k: t.data_ptr() for k, t in tensors.items()}
    torch.nn.Linear(3, 4)
    assert not torch.equal(torch.get_rng_state(), state), "outside of it, networks begin at random as ever"


def test_old_and_new_names_in_one_file_are_refused():
    tensors = {"a.attn_joint_twice.to_q.weight": torch.ones(1), "a.attn_joint_mid.to_q.weight": torch.ones(1)}
    with pytest.raises(WeightsError, match="two tensors mean"):
        rename(tensors, NAMES["unet"], "unet")


def test_both_kinds_of_files_are_read(tmp_path):
    tensors = {"a": torch.arange(3.0)}
    torch.save(tensors, tmp_path / "a.bin")
    save_file(tensors, tmp_path / "a.safetensors")
    for name in ("a.bin", "a.safetensors"):
        assert torch.equal(read_tensors(tmp_path / name)["a"], tensors["a"])


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize("content", ["trap", "torn", "list", "absent"])
def test_a_file_that_holds_no_weights_is_one_line(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.bin"
    if content == "trap":
        path.write_bytes(pickle.dumps({"a": Trap()}))
    elif content == "torn":
        torch.save({"a": torch.arange(3.0)}, path)
        path.write_bytes(path.read_bytes()[:-40])
    elif content == "list":
        torch.save([torch.arange(3.0)], path)
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value) and "a.bin" in str(caught.value)
    assert not (tmp_path / "sprung").exists(), "code of a weights file ran"


def old_name(name):
    """The first release's name of one of our tensors."""
    return (
        name.replace("_joint_last.", "_joint.")
        if "_joint_last." in name
        else name.replace("_joint_mid.", "_joint_twice.")
    )
