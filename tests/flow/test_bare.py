"""A bare tensor and a photo become what a run begins with."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from img2mv3d.errors import LatentsError
from img2mv3d.files.contents import write_png
from img2mv3d.flow.bare import adopt
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.plans import PrepareOptions


class Square(nn.Module):
    """A decoder that paints a dark square of 64 px on white where latents are not 0."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        picture = torch.ones(len(latents), 3, 256, 256)
        if latents.any():
            picture[:, :, 96:160, 96:160] = 0.2
        return picture


BUNDLE = SimpleNamespace(plain_decoder=Square, vae={"name": "sd-1.x", "digest": "d"})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    picture = np.zeros((120, 160, 4), np.uint8)
    picture[30:90, 50:110] = (200, 40, 30, 255)
    write_png(tmp_path / "photo.png", picture)
    return tmp_path / "photo.png"


def saved(folder: Path, count: int) -> Path:
    np.save(folder / "latents.npy", np.random.default_rng(0).normal(size=(count, 4, 32, 32)).astype(np.float32))
    return folder / "latents.npy"


def test_the_photo_is_framed_as_large_as_the_first_views_object(tmp_path: Path, photo: Path) -> None:
    told = {"unscaled": False, "options": PrepareOptions()}
    latents, subject = adopt(saved(tmp_path, 12), photo, None, BUNDLE, **told)
    assert latents.normal is not None and latents.rig == SIX_VIEWS and latents.front is subject.image
    rows = np.flatnonzero((subject.image[..., 3] > 127).any(1))
    assert abs(np.ptp(rows) + 1 - 64) <= 2 and abs(latents.framing_px - 64) <= 1
    told["options"] = PrepareOptions(framing_px=144)
    assert adopt(saved(tmp_path, 6), photo, None, BUNDLE, **told)[0].framing_px == 144


def test_a_first_view_without_an_object_is_an_error(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Square, "decode", lambda self, latents: torch.ones(len(latents), 3, 256, 256))
    with pytest.raises(LatentsError, match="shows no object"):
        adopt(saved(tmp_path, 6), photo, None, BUNDLE, unscaled=False, options=PrepareOptions())
