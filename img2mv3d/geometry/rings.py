"""The order of views round the object: neighbours, pairs, slots."""

from __future__ import annotations

from img2mv3d.geometry.cameras import Rig

SLOTS = 5  # other views that a pixel looks into: the five others of a six-view rig (paper: N = 5)


def ring(rig: Rig) -> list[int]:
    """The views in the order of their azimuth."""
    return sorted(range(len(rig)), key=lambda i: (rig.azimuth_deg[i] % 360.0, i))


def ring_pairs(rig: Rig, within_deg: float = 180.0) -> list[tuple[int, int]]:
    """Each pair of neighbours round the object once, the last with the first.

    within_deg: neighbours further apart are left out.
    """
    order = ring(rig)
    pairs = list(zip(order, order[1:] + order[:1], strict=True))
    pairs = pairs[: 1 if len(rig) == 2 else None] if len(rig) > 1 else []
    return [(i, j) for i, j in pairs if abs(turn_deg(rig, i, j)) <= within_deg + 1e-6]


def next_views(rig: Rig) -> list[tuple[int, int]]:
    """Each view with its next neighbour in azimuth; none for a single view."""
    order = ring(rig)
    return [(view, order[(k + 1) % len(order)]) for k, view in enumerate(order)] if len(rig) > 1 else []


def turn_deg(rig: Rig, view: int, other: int) -> float:
    """The azimuth from one view to another, in [-180, 180)."""
    return (rig.azimuth_deg[other] - rig.azimuth_deg[view] + 180.0) % 360.0 - 180.0


def neighbours(rig: Rig, slots: int = SLOTS, dropped: tuple[int, ...] = ()) -> tuple[tuple[int | None, ...], ...]:
    """For each view the views that fill its slots, next one in azimuth first; None for an empty slot.

    Fewer others than slots: the nearest keep their places at both ends (next views first, previous views last), so that
    a slot keeps its meaning. More: the nearest in azimuth.

    dropped: views that fill no slot (training); a slot they would have filled stays empty.
    """
    count = len(rig)
    order = ring(rig)
    table = []
    for view in range(count):
        place = order.index(view)
        others = [order[(place + j) % count] for j in range(1, count)]
        if len(others) > slots:
            near = sorted(others, key=lambda i: abs(turn_deg(rig, view, i)))
            others = [i for i in others if i in near[:slots]]
        ahead = (len(others) + 1) // 2
        empty: list[int | None] = [None] * (slots - len(others))
        row = [*others[:ahead], *empty, *others[ahead:]]
        table.append(tuple(None if i in dropped else i for i in row))
    return tuple(table)
