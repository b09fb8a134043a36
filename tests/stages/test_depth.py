"""The depth stage on an exact world and on latents of noise."""

from dataclasses import replace

import nerfacc
import numpy as np
import pytest
import torch

from img2mv3d.errors import LatentsError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, render_world, sample_grid
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.plans import DepthOptions
from img2mv3d.stages.depth import body_views, fit_depth, plain_views
from img2mv3d.values import Body, Latents, Views


def test_a_ball_is_seen_at_its_depth_from_every_view():
    color, normal, mask, z = render_world(Sphere((0.1, 0, 0), 0.5), SIX_VIEWS, 64)
    views = Views(color, normal, mask, SIX_VIEWS)
    depth = fit_depth(views, options=DepthOptions(grid=32, effort=0.1))
    both = (depth.hit > 0.5) & (mask > 0.5)
    assert both.sum() > 0.9 * (mask > 0.5).sum() and np.abs(depth.z - z)[both].mean() < 0.05
    assert (depth.z[depth.hit == 0] == 0).all() and depth.plain is views and depth.origin == "neus"
    assert depth.coarse.shape == (32, 32, 32)


def noise(with_normals=True):
    cells = np.random.default_rng(0).normal(size=(6, 4, 4, 4)).astype(np.float32)
    front = np.zeros((32, 32, 4), np.uint8)
    front[8:24, 8:24] = 200
    return Latents(
        cells, cells if with_normals else None, front, SIX_VIEWS, 144, {"name": "x", "digest": "y"}, "toy", 0
    )


def test_plain_views_are_finite_pictures_with_the_photos_mask_in_front():
    torch.manual_seed(0)
    views = plain_views(noise(), decoder=PlainDecoder((32, 32, 32, 32)).eval())
    assert views.color.shape == views.normal.shape == (6, 32, 32, 3) and views.mask.shape == (6, 32, 32)
    assert np.allclose(views.mask[0], noise().front[..., 3] / 255)
    assert np.isfinite(views.color).all() and 0 <= views.color.min() and views.color.max() <= 1
    assert (views.color[views.mask == 0] == 1).all() and (views.normal[views.mask < 0.5] == 0).all()


def test_latents_without_normals_are_refused():
    with pytest.raises(LatentsError, match="no normal"):
        plain_views(noise(with_normals=False), decoder=PlainDecoder((32, 32, 32, 32)))


def test_the_depth_of_a_plain_cpu_run_is_composited_by_nerfacc(monkeypatch):
    calls = []
    weigh, gather = nerfacc.render_weight_from_alpha, nerfacc.accumulate_along_rays
    monkeypatch.setattr(nerfacc, "render_weight_from_alpha", lambda *a, **k: calls.append("weight") or weigh(*a, **k))
    monkeypatch.setattr(nerfacc, "accumulate_along_rays", lambda *a, **k: calls.append("sum") or gather(*a, **k))
    color, normal, mask, _ = render_world(Sphere(radius=0.5), SIX_VIEWS, 32)
    fit_depth(Views(color, normal, mask, SIX_VIEWS), options=DepthOptions(grid=32, effort=0.05))
    assert {"weight", "sum"} <= set(calls)


def test_views_of_a_body_have_its_outlines_and_normals_and_the_photos_in_front():
    torch.manual_seed(0)
    ball = Sphere((0, 0, 0), 0.6)
    maps = np.zeros((4, 4, 3), np.float32)
    body = Body(sample_grid(ball, 48).astype(np.float32), maps, maps, 1.0, maps[0, :, :2], 0.0, 1.0)
    _, normal, mask, _ = render_world(ball, SIX_VIEWS, 32)
    views = body_views(noise(), body, decoder=PlainDecoder((32, 32, 32, 32)).eval())
    assert np.allclose(views.mask[0], noise().front[..., 3] / 255) and views.origin == "body"
    assert np.abs(views.mask[1:] - mask[1:]).mean() < 0.02
    inside = mask[1:] > 0.99
    assert (views.normal[1:] * normal[1:]).sum(-1)[inside].mean() > 0.97
    assert (views.color[views.mask == 0] == 1).all() and (views.normal[views.mask == 0] == 0).all()
    wide = replace(noise(), front=np.full_like(noise().front, 255))
    form = body_views(wide, replace(body, form="turned"), decoder=PlainDecoder((32, 32, 32, 32)).eval())
    assert np.abs(form.mask[0] - mask[0]).mean() < 0.02  # the photo shows more than such a thing has
    without = body_views(noise(with_normals=False), body, decoder=PlainDecoder((32, 32, 32, 32)).eval())
    assert np.allclose(without.normal, views.normal)
