"""Of a torn prediction of a turned thing comes the turned thing; others are left alone."""

import numpy as np
import pytest

from img2mv3d.geometry import lathe
from img2mv3d.geometry.lathe import turned_body

NODES = 96
LINE = np.linspace(-1, 1, NODES)
LIFT = np.radians(20.0)
X, Y, Z = np.meshgrid(LINE, LINE, LINE, indexing="ij")
HEIGHT, AWAY = Y * np.cos(LIFT) + Z * np.sin(LIFT), Z * np.cos(LIFT) - Y * np.sin(LIFT)
RADIUS = np.hypot(X, AWAY)


def _can(radius: float = 0.35, half: float = 0.4) -> np.ndarray:
    return np.maximum(RADIUS - radius, np.abs(HEIGHT) - half)


def _cup() -> np.ndarray:
    return np.maximum(_can(), -np.maximum(RADIUS - 0.3, -0.35 - HEIGHT))


def _handle() -> np.ndarray:
    ring = np.hypot(np.hypot(X - 0.38, HEIGHT) - 0.18, AWAY) - 0.045
    return np.maximum(ring, 0.33 - X)


def _torn(field: np.ndarray) -> np.ndarray:
    """As a network gives it: no wall where it runs along the line of sight, and a bent back."""
    wall = (np.abs(X) > 0.2) & (RADIUS > 0.2) & (HEIGHT > -0.1) & (np.abs(AWAY) < 0.12)
    return np.where(wall, 0.05, field + 0.02 * (AWAY < 0) * np.sin(9 * X)).astype(np.float32)


def _outline(field: np.ndarray) -> np.ndarray:
    """What the front camera sees of it, 256 px over +-1."""
    nearest = np.rint(((np.arange(256) + 0.5) / 128) * (NODES - 1) / 2).astype(int).clip(0, NODES - 1)
    return (field.min(2) < 0).T[nearest[::-1]][:, nearest].astype(np.float32)


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a < 0) & (b < 0)).sum() / ((a < 0) | (b < 0)).sum())


def test_a_torn_cup_becomes_whole_and_stays_hollow():
    true = _cup()
    found = turned_body(_torn(true), _outline(true), 20.0)
    assert found is not None
    walls = (RADIUS > 0.31) & (RADIUS < 0.34) & (np.abs(HEIGHT) < 0.3)
    assert (_torn(true)[walls] < 0).mean() < 0.9 and (found.field[walls] < 0).mean() > 0.98
    assert (found.field[(RADIUS < 0.2) & (HEIGHT > 0) & (HEIGHT < 0.3)] > 0).all()
    assert found.x == pytest.approx(0, abs=0.02) and found.depth == pytest.approx(0, abs=0.05)


def test_a_cup_keeps_the_lip_of_which_only_the_near_side_was_predicted():
    true = np.minimum(_cup(), np.maximum.reduce([RADIUS - 0.42, 0.3 - RADIUS, np.abs(HEIGHT - 0.34) - 0.06]))
    near = np.where((HEIGHT > 0.28) & (AWAY < 0.15), 0.05, true).astype(np.float32)
    outline = _outline(true)
    found = turned_body(near, outline, 20.0)
    assert found is not None
    assert _outline(near)[outline > 0].mean() < 0.9 and _outline(found.field)[outline > 0].mean() > 0.96
    lip = (RADIUS > 0.38) & (RADIUS < 0.4) & (np.abs(HEIGHT - 0.34) < 0.03)
    assert (found.field[lip] < 0).mean() > 0.75
    assert (found.field[(RADIUS < 0.2) & (HEIGHT > 0) & (HEIGHT < 0.25)] > 0).all()  # open still


def test_a_mug_stands_on_the_foot_that_the_prediction_ends_short_of():
    true = _can()
    found = turned_body(np.maximum(true, -0.31 - HEIGHT).astype(np.float32), _outline(true), 20.0)
    assert found is not None
    foot = (RADIUS < 0.3) & (HEIGHT > -0.37) & (HEIGHT < -0.31)
    assert (found.field[foot] < 0).all()
    assert (found.field[HEIGHT < -0.43] > 0).all()


def test_a_mugs_handle_stands_in_the_plane_that_faces_the_camera():
    true = np.minimum(_can(), _handle())
    bent = np.minimum(_can(), np.roll(_handle(), 9, axis=2)).astype(np.float32)
    found = turned_body(bent, _outline(true), 20.0)
    assert found is not None
    handle = (found.field < 0) & (X > 0.4)
    assert handle.any() and abs(AWAY[handle].mean()) < 0.02
    assert _iou(found.field, true) > 0.85


def test_a_knob_stays_that_the_predicted_body_has_beside_the_axis():
    knob = np.maximum(RADIUS - 0.08, np.abs(HEIGHT - 0.5) - 0.12)
    true = np.minimum(_can(), knob)
    found = turned_body(np.minimum(_can(), np.roll(knob, 7, axis=2)).astype(np.float32), _outline(true), 20.0)
    assert found is not None
    assert (found.field[(RADIUS < 0.05) & (HEIGHT > 0.42) & (HEIGHT < 0.56)] < 0).mean() > 0.95
    assert (found.field[HEIGHT > 0.7] > 0).all()


def test_a_box_a_shield_and_a_table_are_not_turned():
    box = np.maximum(
        np.maximum(np.abs(0.8 * X + 0.6 * AWAY) - 0.3, np.abs(0.6 * X - 0.8 * AWAY) - 0.3), np.abs(HEIGHT) - 0.35
    )
    shield = np.maximum(np.hypot(X, Y) - 0.4, np.abs(Z) - 0.05)
    legs = np.minimum(np.hypot(X - 0.3, AWAY - 0.2), np.hypot(X + 0.3, AWAY + 0.2)) - 0.05
    table = np.minimum(np.maximum(RADIUS - 0.45, np.abs(HEIGHT - 0.3) - 0.04), np.maximum(legs, np.abs(HEIGHT) - 0.3))
    for field in (box, shield, table):
        assert turned_body(field.astype(np.float32), _outline(field), 20.0) is None


def test_seen_level_the_outline_tells_nothing_and_the_body_must():
    half = np.maximum(np.hypot(X, Z) - 0.35, np.abs(Y) - 0.4)
    assert turned_body(half.astype(np.float32), _outline(half), 0.0) is not None
    flat = np.maximum(np.hypot(X, 1.6 * Z) - 0.35, np.abs(Y) - 0.4)
    assert turned_body(flat.astype(np.float32), _outline(flat), 0.0) is None


def test_an_empty_photo_shows_nothing_turned():
    assert turned_body(_can().astype(np.float32), np.zeros((256, 256), np.float32), 20.0) is None


def test_a_die_is_no_pot():
    """Twenty faces are nearly a ball, but what discs fill of their outline leaves corners."""
    golden = (1 + 5**0.5) / 2
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    corners += [(0, a / golden, b * golden) for a in (-1, 1) for b in (-1, 1)]
    ways = np.array([p for c in corners[8:] for p in (c, (c[1], c[2], c[0]), (c[2], c[0], c[1]))] + corners[:8])
    ways = ways / np.linalg.norm(ways, axis=1, keepdims=True)  # towards the twenty faces
    lean = np.arctan(1 / golden)  # a corner points up
    up, away = HEIGHT * np.cos(lean) - AWAY * np.sin(lean), HEIGHT * np.sin(lean) + AWAY * np.cos(lean)
    die = np.max([w[0] * X + w[1] * away + w[2] * up for w in ways], axis=0) - 0.5
    assert turned_body(die.astype(np.float32), _outline(die), 20.0) is None
    ball = np.sqrt(X**2 + HEIGHT**2 + AWAY**2) - 0.5
    assert turned_body(ball.astype(np.float32), _outline(ball), 20.0) is not None


def test_a_can_grows_into_its_outline_and_not_towards_the_camera(monkeypatch: pytest.MonkeyPatch):
    true = _can()
    grown = turned_body(true.astype(np.float32), _outline(true), 20.0)
    monkeypatch.setattr(lathe, "GROWN", 0.0)
    plain = turned_body(true.astype(np.float32), _outline(true), 20.0)
    assert grown is not None and plain is not None
    front = (np.abs(X) < 0.2) & (np.abs(HEIGHT) < 0.2) & (RADIUS < 0.4)
    assert np.array_equal(grown.field[front], plain.field[front])
    assert (grown.field <= plain.field).all() and (grown.field < plain.field).any()
