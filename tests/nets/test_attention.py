"""Epipolar attention: the fast path against its plain twin, in values and gradients."""

import pytest
import torch

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.epipolar import pluecker
from img2mv3d.nets import attention
from img2mv3d.nets.attention import EpipolarAttention, Level, PaperAttention, epipolar_attention_plain, make_levels

RIGS = {
    "six views": SIX_VIEWS,
    "odd azimuths": Rig(("a", "b", "c"), (0.0, 33.0, -101.0), (0.0, 0.0, 0.0)),
    "elevated": Rig(("a", "b", "c"), (0.0, 60.0, 200.0), (0.0, 20.0, -10.0)),
    "perspective": Rig(("a", "b"), (0.0, 40.0), (10.0, 0.0), "perspective", 2.0, 3.0),
    "one view": Rig(("a",), (0.0,), (0.0,)),
    "eight views": Rig(tuple("abcdefgh"), tuple(45.0 * i for i in range(8)), (0.0,) * 8),
    "sixteen views": Rig(tuple("abcdefghijklmnop"), tuple(22.5 * i for i in range(16)), (0.0,) * 16),
}


def level_of(rig: Rig, size: int, generator: torch.Generator, dtype=torch.float64) -> Level:
    """A bumpy sphere-like thing with holes, not consistent between views: the harder case."""
    views = len(rig)
    start = rig.distance or 0.0
    z = (torch.rand(views, size, size, generator=generator) * 1.2 - 0.6 + start).to(dtype)
    hit = (torch.rand(views, size, size, generator=generator) > 0.4).to(dtype)
    photo = torch.rand(3, size, size, generator=generator).to(dtype)
    rays = (torch.stack([pluecker(c) for c in rig.cameras(size)]).to(dtype),)
    return make_levels(z, hit, photo, rays, rig, factors=(1,))[0]


def net_of(channels: int, points: int, dtype=torch.float64, kind=EpipolarAttention) -> EpipolarAttention:
    torch.manual_seed(3)
    net = kind(channels, points, radius=0.3, groups=2, head_width=4).to(dtype)
    torch.nn.init.normal_(net.out.weight, std=0.3)
    torch.nn.init.normal_(net.norm.weight)
    return net


@pytest.mark.parametrize("kind", [EpipolarAttention, PaperAttention])
@pytest.mark.parametrize("name", list(RIGS))
def test_fast_path_and_plain_twin_agree_in_values_and_gradients(name, kind, monkeypatch):
    monkeypatch.setattr(attention, "CHUNK", 200)  # several chunks
    generator = torch.Generator().manual_seed(0)
    rig = RIGS[name]
    level, net = level_of(rig, 8, generator), net_of(8, 3, kind=kind)
    features = torch.randn(len(rig), 8, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    jitter = torch.rand(len(rig), 3, 8, 8, generator=generator, dtype=torch.float64)
    weight = torch.randn(features.shape, generator=generator, dtype=torch.float64)
    results = []
    for call in (net, lambda *a: epipolar_attention_plain(net, *a)):
        out = call(features, level, jitter)
        used = [features, *net.parameters()]
        results.append(
            (out.detach(), torch.autograd.grad((out * weight).sum(), used, allow_unused=True, materialize_grads=True))
        )
    (fast, fast_grads), (plain, plain_grads) = results
    assert torch.allclose(fast, plain, atol=1e-11)
    for a, b in zip(fast_grads, plain_grads, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_gradients_are_those_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    rig = Rig(("a", "b", "c"), (0.0, 45.0, 180.0), (0.0, 0.0, 0.0))
    level, net = level_of(rig, 4, generator), net_of(4, 2)
    features = torch.randn(3, 4, 4, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: net(x, level), (features,), fast_mode=True)


@pytest.mark.parametrize(
    ("channels", "size", "points"),
    [
        (64, 32, 7),
        (32, 64, 2),
        pytest.param(64, 64, 7, marks=pytest.mark.slow),
        pytest.param(32, 128, 7, marks=pytest.mark.slow),
        pytest.param(32, 256, 2, marks=pytest.mark.slow),
    ],
)
def test_at_real_sizes_they_agree_in_single_precision(channels, size, points):
    generator = torch.Generator().manual_seed(2)
    level = level_of(SIX_VIEWS, size, generator, torch.float32)
    torch.manual_seed(0)
    net = EpipolarAttention(channels, points)
    torch.nn.init.normal_(net.out.weight, std=0.1)
    features = torch.randn(6, channels, size, size, generator=generator, requires_grad=True)
    weight = torch.randn(features.shape, generator=generator)
    results = []
    for call in (net, lambda *a: epipolar_attention_plain(net, *a)):
        out = call(features, level)
        results.append((out.detach(), torch.autograd.grad((out * weight).sum(), [features, *net.parameters()])))
        del out
    (fast, fast_grads), (plain, plain_grads) = results
    assert torch.allclose(fast, plain, atol=2e-5)
    for a, b in zip(fast_grads, plain_grads, strict=True):
        assert (a - b).abs().max() <= 2e-4 * b.abs().max() + 1e-5  # the key's bias gets none but rounding


def test_the_size_of_a_chunk_changes_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(4)
    level = level_of(SIX_VIEWS, 32, generator, torch.float32)
    torch.manual_seed(0)
    net = EpipolarAttention(64, 7)
    torch.nn.init.normal_(net.out.weight, std=0.1)
    features = torch.randn(6, 64, 32, 32, generator=generator)
    results = []
    for chunk in (1 << 30, 1 << 16, 64 * 7 * 50):  # at once, some pieces, many
        monkeypatch.setattr(attention, "CHUNK", chunk)
        with torch.no_grad():
            results.append(net(features, level))
    assert all((other - results[0]).abs().max() <= 1e-5 for other in results[1:])


def test_freshly_made_it_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(6, 16, 8, 8, generator=generator)
    net = EpipolarAttention(16, 3)
    assert torch.equal(net(features, level_of(SIX_VIEWS, 8, generator, torch.float32)), features)


def test_outside_of_hits_nothing_changes():
    generator = torch.Generator().manual_seed(0)
    level, net = level_of(SIX_VIEWS, 8, generator), net_of(8, 3)
    features = torch.randn(6, 8, 8, 8, generator=generator, dtype=torch.float64)
    changed = (net(features, level) != features).any(1)
    assert torch.equal(changed, level.hit)


def test_a_dropped_view_is_not_looked_at():
    generator = torch.Generator().manual_seed(0)
    level, net = level_of(SIX_VIEWS, 8, generator), net_of(8, 3)
    net.norm = torch.nn.Identity()
    level = level._replace(slots=attention.neighbours(SIX_VIEWS, dropped=(2,)))
    features = torch.randn(6, 8, 8, 8, generator=generator, dtype=torch.float64)
    other = features.clone()
    other[2] += 1
    seen, seen_otherwise = net.branch(features, level), net.branch(other, level)
    keep = [0, 1, 3, 4, 5]
    assert torch.equal(seen[keep], seen_otherwise[keep])
    assert not torch.equal(seen[2], seen_otherwise[2])


def test_a_band_of_rows_is_closed_under_the_attention_of_a_row_rig():
    generator = torch.Generator().manual_seed(0)
    level, net = level_of(SIX_VIEWS, 8, generator), net_of(8, 3)
    net.norm = torch.nn.Identity()  # its statistics are the band's own
    features = torch.randn(6, 8, 8, 8, generator=generator, dtype=torch.float64)
    band = level._replace(
        z=level.z[:, 2:6], hit=level.hit[:, 2:6], ray=level.ray[:, :, 2:6], photo=level.photo[:, :, 2:6]
    )
    assert torch.allclose(net(features[:, :, 2:6], band), net(features, level)[:, :, 2:6], atol=1e-12)


def test_empty_depth_is_no_fault():
    level = level_of(SIX_VIEWS, 8, torch.Generator().manual_seed(0))
    level = level._replace(hit=torch.zeros_like(level.hit))
    features = torch.ones(6, 8, 8, 8, dtype=torch.float64)
    assert torch.equal(net_of(8, 3)(features, level), features)


def test_without_the_photo_its_colours_change_nothing():
    generator = torch.Generator().manual_seed(0)
    level = level_of(SIX_VIEWS, 8, generator)
    features = torch.randn(6, 8, 8, 8, generator=generator, dtype=torch.float64)
    other = level._replace(photo=level.photo + 0.5)
    told = net_of(8, 3)
    assert not torch.equal(told(features, level), told(features, other))


def test_the_papers_attention_is_told_neither_the_photo_nor_what_is_hidden():
    generator = torch.Generator().manual_seed(0)
    level, net = level_of(SIX_VIEWS, 8, generator), net_of(8, 3, kind=PaperAttention)
    assert net.mix_in.in_features == net.slots * (8 + attention.RAY)
    features = torch.randn(6, 8, 8, 8, generator=generator, dtype=torch.float64)
    whole = level._replace(hit=torch.ones_like(level.hit))
    seen = net.branch(features, level._replace(photo=level.photo + 0.5))
    assert torch.equal(seen, net.branch(features, level))
    assert torch.allclose(seen.movedim(1, -1)[level.hit], net.branch(features, whole).movedim(1, -1)[level.hit])


def arranged(level: Level, order: list[int], rig: Rig) -> Level:
    """The maps of `level` in another order, shown by the cameras of `rig`."""
    maps = {k: getattr(level, k)[order] for k in ("z", "hit", "ray", "photo")}
    return level._replace(**maps, rig=rig, slots=attention.neighbours(rig))


def test_all_views_of_a_ring_turned_together_change_their_order_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    rig = RIGS["eight views"]
    level, net = level_of(rig, 8, generator), net_of(8, 3)
    features = torch.randn(8, 8, 8, 8, generator=generator, dtype=torch.float64)
    turned = [(i + 3) % 8 for i in range(8)]
    found = net(features[turned], arranged(level, turned, rig))
    assert torch.allclose(found, net(features, level)[turned], atol=1e-12)


def test_views_listed_in_another_order_are_the_same_views():
    generator = torch.Generator().manual_seed(0)
    level, net = level_of(SIX_VIEWS, 8, generator), net_of(8, 3)
    features = torch.randn(6, 8, 8, 8, generator=generator, dtype=torch.float64)
    order = [4, 0, 5, 2, 1, 3]
    azimuths = tuple(SIX_VIEWS.azimuth_deg[i] for i in order)
    found = net(features[order], arranged(level, order, Rig(tuple("abcdef"), azimuths, (0.0,) * 6)))
    assert torch.allclose(found, net(features, level)[order], atol=1e-12)


def test_the_others_in_one_anothers_places_change_what_a_view_is_shown():
    generator = torch.Generator().manual_seed(0)
    level, net = level_of(SIX_VIEWS, 8, generator), net_of(8, 3)
    features = torch.randn(6, 8, 8, 8, generator=generator, dtype=torch.float64)
    swapped = [0, 1, 3, 2, 4, 5]
    found = net(features[swapped], arranged(level, swapped, SIX_VIEWS))
    changed = (found - net(features, level)).abs().amax((1, 2, 3))
    assert (changed > 1e-3).all()  # in the untouched views, too: they look into the two
