"""Latents of the object's box are those of the whole picture where nothing else is; files are checked."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from img2mv3d.data.renders import RenderSet, Sample
from img2mv3d.data.teacher import Teacher, encode_sets, pictures
from img2mv3d.errors import WeightsError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A teacher with random numbers, under the names of the published files."""
    path = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    net = AutoencoderTiny()
    for half, shift in (("encoder", 0), ("decoder", 1)):
        tensors = {}
        for name, tensor in getattr(net, half).layers.state_dict().items():
            index, _, rest = name.partition(".")
            tensors[f"{int(index) + shift}.{rest}"] = tensor.clone()
        save_file(tensors, path / f"taesd_{half}.safetensors")
    return path


@pytest.fixture(scope="module")
def teacher(folder):
    return Teacher(folder)


def _picture() -> torch.Tensor:
    image = torch.ones(1, 3, 128, 128)
    image[..., 40:80, 48:72] = torch.rand(1, 3, 40, 24, generator=torch.Generator().manual_seed(0))
    return image


def test_an_empty_picture_needs_no_box(teacher):
    white = torch.ones(2, 3, 64, 96)
    assert torch.allclose(teacher.encode(white), teacher.encode_whole(white), atol=1e-5)


def test_the_box_changes_the_cells_of_the_object_and_no_others(teacher):
    image = _picture()
    fast, empty = teacher.encode(image), teacher.encode_whole(torch.ones_like(image))
    moved = (fast - empty).abs().amax((0, 1)) > 1e-6
    assert moved[5:10, 6:9].all() and moved.sum() <= (5 + 2) * (3 + 2)
    whole = teacher.encode_whole(image)
    inside = (fast - whole)[..., 5:10, 6:9].pow(2).mean()
    assert inside < 0.1 * (whole - empty)[..., 5:10, 6:9].pow(2).mean()


def test_decoded_pictures_have_the_size_of_the_encoded(teacher):
    assert teacher.decode(torch.zeros(1, 4, 8, 12)).shape == (1, 3, 64, 96)


def test_foreign_or_missing_files_are_refused(folder, tmp_path):
    with pytest.raises(WeightsError):
        Teacher(tmp_path)
    for half in ("encoder", "decoder"):
        save_file({"0.weight": torch.zeros(3)}, tmp_path / f"taesd_{half}.safetensors")
    with pytest.raises(WeightsError):
        Teacher(tmp_path)


def test_sets_are_encoded_once(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    sample = Sample(
        rng.integers(0, 255, (6, 256, 256, 3), np.uint8),
        np.full((6, 256, 256), 255, np.uint8),
        rng.integers(0, 255, (6, 256, 256, 3), np.uint8),
        np.zeros((6, 256, 256), np.float16),
        np.zeros((256, 256, 4), np.uint8),
        144,
    )
    monkeypatch.setattr(RenderSet, "load", lambda self, name: sample)
    assert torch.equal(pictures(sample)[12], torch.ones(3, 256, 256))  # transparent: white
    data = RenderSet(tmp_path)
    pool = torch.nn.AvgPool2d(8)

    def encode(picture: torch.Tensor) -> torch.Tensor:
        return torch.cat([pool(picture), pool(picture)[:, :1]], dim=1)

    assert encode_sets(data, ["a.0", "b.0"], encode, source="mini") == 2
    assert encode_sets(data, ["a.0", "b.0"], encode, source="mini") == 0
    assert encode_sets(data, ["c.0"], encode, source="mini", stop=lambda: True) == 0
    expected = sample.color[2, :8, :8, 0].mean() / 255
    assert data.latents("a.0")["color"][2, 0, 0, 0] == pytest.approx(expected, abs=1e-3)
