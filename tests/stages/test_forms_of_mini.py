"""What mini makes of a photo of a box, and that the mesh of the whole chain keeps its edges straight."""

import numpy as np
import pytest

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.flow.photo import reconstruct_photo
from img2mv3d.geometry.boxes import UprightBox, box_field
from img2mv3d.plans import Plan
from img2mv3d.stages.body import predict_body
from tests.crates import crate, drawn

CRATES = (
    crate(30.0, 20.0, (0.39, 0.22, 0.28)),
    crate(60.0, 30.0, (0.36, 0.36, 0.24)),
    crate(15.0, 12.0, (0.47, 0.18, 0.35)),
)
MOST_BENT = 0.02  # of an edge's length


def test_the_body_of_a_photo_of_a_box_is_that_box():
    net = load_bundle("mini").shape()
    for box in CRATES:
        found, true = predict_body(drawn(box), net=net).field < 0, box_field(box, 128) < 0
        shift = round(float(np.argwhere(found)[:, 2].mean() - np.argwhere(true)[:, 2].mean()))
        true = np.roll(true, shift, axis=2)  # where it stands along the line of sight, a photo does not tell
        assert (found & true).sum() / (found | true).sum() > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("box", CRATES)
def test_no_edge_that_the_photo_shows_leaves_its_straight_line(box: UprightBox):
    made = reconstruct_photo(drawn(box, 512), plan=Plan())
    vertices = np.asarray(made.mesh.vertices)
    for start, end in _seen_edges(_box_around(vertices, box)):
        assert _bent(vertices, start, end) <= MOST_BENT


def _box_around(vertices: np.ndarray, box: UprightBox) -> UprightBox:
    """The upright box round the vertices that stands as `box` does."""
    turn = np.arctan2(*box.axes[0, [2, 0]] / (np.cos(np.arcsin(box.axes[2, 2])), 1.0))
    axes = np.array([[np.cos(turn), 0, np.sin(turn)], [-np.sin(turn), 0, np.cos(turn)], [0, 1, 0]])
    along = vertices @ axes.T
    low, high = along.min(0), along.max(0)
    return UprightBox((low + high) / 2 @ axes, (high - low) / 2, axes)


def _seen_edges(box: UprightBox) -> list[tuple[np.ndarray, np.ndarray]]:
    """(start, end) of the nine edges of the three faces that point at the camera or up."""
    facing = np.where(box.axes[:, 2] + 0.1 * box.axes[:, 1] > 0, 1, -1)
    edges = []
    for axis in range(3):
        others = [k for k in range(3) if k != axis]
        for signs in ((1, 1), (1, -1), (-1, 1)):
            corner = np.zeros(3)
            corner[others] = np.array(signs) * facing[others] * box.halves[others]
            step = np.eye(3)[axis] * box.halves[axis]
            edges.append(tuple(box.middle + (corner + s * step) @ box.axes for s in (-1, 1)))
    return edges


def _bent(vertices: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """Largest distance of the ridge near an edge from its straight line, over the edge's length; ends left out."""
    length = float(np.linalg.norm(end - start))
    way = (end - start) / length
    outwards = (start + end) / 2 - vertices.mean(0)
    outwards -= (outwards @ way) * way
    place, away = (vertices - start) @ way, (vertices - start) @ (outwards / np.linalg.norm(outwards))
    beside = np.linalg.norm(vertices - start - place[:, None] * way, axis=1)
    ridge = []
    for begin in np.arange(0.1, 0.9, 0.05) * length:
        near = (place >= begin) & (place < begin + 0.05 * length) & (beside < 0.15 * length)
        if near.any():
            ridge.append((begin, away[near].max()))
    x, y = np.array(ridge).T
    return float(np.abs(np.polyval(np.polyfit(x, y, 1), x) - y).max() / length)
