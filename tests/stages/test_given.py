"""Depth from elsewhere, and views of latents without normals."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from img2mv3d.errors import DepthError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.stages.given import given_depth, plain_colors
from img2mv3d.values import Latents, Views

PLAIN = Views(np.ones((6, 32, 32, 3), np.float32), None, np.ones((6, 32, 32), np.float32), SIX_VIEWS, "plain")


def test_no_depth_is_zero_everywhere() -> None:
    depth = given_depth(PLAIN, "none")
    assert not depth.z.any() and not depth.hit.any() and depth.origin == "none"


def test_arrays_come_in_as_they_are_and_are_zero_where_nothing_was_hit(tmp_path: Path) -> None:
    hit = np.zeros((6, 32, 32))
    hit[:, 8:24] = 1
    np.savez(tmp_path / "d.npz", z=np.full((6, 32, 32), 0.25), hit=hit)
    depth = given_depth(PLAIN, tmp_path / "d.npz")
    np.testing.assert_array_equal(depth.z, np.where(hit > 0, np.float32(0.25), 0))
    assert depth.origin == "file" and depth.z.dtype == np.float32


@pytest.mark.parametrize("shape", [(6, 16, 16), (5, 32, 32), (32, 32)])
def test_depth_of_other_views_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "d.npz", z=np.zeros(shape), hit=np.zeros(shape))
    with pytest.raises(DepthError, match="expected"):
        given_depth(PLAIN, tmp_path / "d.npz")


def test_what_is_no_mesh_and_what_no_view_sees_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.glb").write_bytes(b"no mesh")
    with pytest.raises(DepthError):
        given_depth(PLAIN, tmp_path / "a.glb")
    import trimesh

    far = trimesh.creation.box((1, 1, 1))
    far.apply_translation((50, 50, 50))
    far.export(tmp_path / "far.ply")
    with pytest.raises(DepthError, match="no view sees"):
        given_depth(PLAIN, tmp_path / "far.ply")


class Painter(PlainDecoder):
    """A decoder that paints a red square on white, whatever it is given."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.one = nn.Parameter(torch.ones(1))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        picture = torch.ones(len(latents), 3, 64, 64)
        picture[:, 1:, 16:48, 16:48] = 0
        return picture


def test_colours_alone_give_masks_and_a_warning() -> None:
    front = np.zeros((64, 64, 4), np.uint8)
    front[16:48, 16:48, 3] = 255
    cells = np.zeros((6, 4, 8, 8), np.float32)
    views = plain_colors(Latents(cells, None, front, SIX_VIEWS, 128, {}, "x", 0), decoder=Painter())
    assert views.normal is None and len(views.warnings) == 1
    assert (views.mask[:, 20:44, 20:44] == 1).all() and not views.mask[:, :14].any()
