"""Neighbours round the object."""

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.rings import next_views, ring_pairs, turn_deg


def rig(*azimuths: float) -> Rig:
    return Rig(tuple(f"v{i}" for i in range(len(azimuths))), azimuths, (0.0,) * len(azimuths))


def test_every_neighbouring_pair_comes_once_and_the_ring_closes() -> None:
    pairs = ring_pairs(SIX_VIEWS)
    assert len(pairs) == 6 and len({frozenset(p) for p in pairs}) == 6
    assert ring_pairs(rig(0.0, 40.0)) == [(0, 1)] and ring_pairs(rig(0.0)) == []


def test_pairs_further_apart_are_left_out() -> None:
    pairs = ring_pairs(SIX_VIEWS, 45.0)
    assert pairs and all(abs(turn_deg(SIX_VIEWS, i, j)) <= 45 for i, j in pairs)


def test_the_next_view_is_the_next_in_azimuth() -> None:
    assert next_views(rig(90.0, 0.0, 180.0)) == [(1, 0), (0, 2), (2, 1)]
    assert next_views(rig(5.0)) == []
