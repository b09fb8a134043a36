"""Number for number: every recorded case is told and under; a number that is off is over."""

import json
import shutil

import pytest
import torch
from recipes import recorded_unet
from safetensors.torch import load_file, save_file

from experiments.parity import RUNS, Row, camera_rows, clip_rows, pipeline_rows, table, unet_rows
from tests.checkpoints import GOLDEN, tiny_checkpoint
from tests.nets.test_multiview import CASES


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The records of the pipeline with the checkpoint that they were made with."""
    folder = tmp_path_factory.mktemp("records") / "pipeline"
    shutil.copytree(GOLDEN / "pipeline", folder, ignore=shutil.ignore_patterns("checkpoint"))
    tiny_checkpoint(folder / "checkpoint", ".safetensors")
    return folder


def unet(case, folder):
    """The records of a UNet with its weights, drawn again."""
    shutil.copytree(GOLDEN / "unet" / case, folder)
    config = json.loads((folder / "config.json").read_text())
    save_file(recorded_unet(config, *CASES[case])[1], folder / "weights.safetensors")
    return folder


@pytest.mark.parametrize("case", ["base", "mv_only", "cd_mid_and_last_v0_names"])
def test_recorded_networks_are_under(case, tmp_path):
    found = list(unet_rows(unet(case, tmp_path / "case"), case))
    calls = {k.rpartition(".")[0] for k in load_file(tmp_path / "case" / "io.safetensors") if k.endswith("out")}
    assert len(found) == len(calls) and all(row.good for row in found)


def test_a_weight_that_is_off_is_over(tmp_path):
    folder = unet("cd_last", tmp_path / "case")
    weights = load_file(folder / "weights.safetensors")
    weights["conv_in.bias"] += 0.01
    save_file(weights, folder / "weights.safetensors")
    (row,) = unet_rows(folder, "case")
    assert not row.good and "**OVER**" in table([row])


def test_what_modules_inside_say_is_compared_too(tmp_path):
    """Also where ours joins halves differently or calls no level as a whole; and leaves the network as it was."""
    folder = unet("cd_last", tmp_path / "case")
    record = load_file(folder / "io.safetensors")
    names = ("sample", "timestep", "encoder_hidden_states", "class_labels", "out")
    tensors = {f"call.{k}": record[k] for k in names}
    tensors |= {"call.mid.time_embedding": torch.zeros(12, 64), "call.mid.down_blocks.0": torch.zeros(12, 16, 4, 4)}
    save_file(tensors, folder / "io.safetensors")
    noise, inside = unet_rows(folder, "case")
    assert noise.good
    assert inside.quantity == "2 intermediate results, call" and inside.most > 0.1


def test_every_run_is_under(pipeline):
    found = list(pipeline_rows(pipeline))
    assert all(row.good for row in found)
    told = {row.case.partition("/")[2] for row in found} - {""}
    assert told == {name for names in RUNS for name in names} and len(told) == 8
    pictures = {row.case.partition("/")[2] for row in found if row.quantity == "pictures"}
    assert pictures == {"g1_eta0", "g3_eta0", "g3_eta1"}


def test_what_the_photo_is_to_clip_is_under(pipeline):
    found = list(clip_rows(pipeline))
    assert len(found) == 6 and all(row.good for row in found)
    assert [row.most for row in found if "bytes" in row.quantity] == [0, 0, 0]


def test_cameras_are_under():
    found = list(camera_rows(GOLDEN / "cameras"))
    assert len(found) == 7 and all(row.good and row.tolerance <= 1e-4 for row in found)


def test_nothing_compared_is_not_good():
    assert not Row("case", "nothing", float("nan"), float("nan"), 1e-4).good
