"""Bodies turned on a lathe: jars, bowls, bottles, lamps, of random outlines and bands of colour.

In: random numbers. Out: a `Part` that no corpus holds. Round things are common in photos and rare in corpora, and of
them the outline alone says nearly everything.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from img2mv3d.data.corpus import Solid
from img2mv3d.data.solids import carve
from img2mv3d.data.variation import Deformation, Part
from img2mv3d.geometry.symmetry import TURNS

SIDES = 40
LEVELS = 28  # rings of an outline
BODY_REACH = 0.5  # radius of the sphere that holds an object of the corpus
HOLLOW_SHARE = 0.35  # open at the top, as bowls are
WALL = (0.03, 0.08)  # of a hollow one, over its largest radius


def turned_part(rng: np.random.Generator) -> Part:
    """A random turned body with its carved solid."""
    radii, heights = random_profile(rng)
    vertices, faces, ring = _turned(radii, heights)
    vertices *= BODY_REACH / np.linalg.norm(vertices, axis=1).max()
    bands = _bands(rng, int(ring.max()) + 1)
    mesh = Solid(vertices.astype(np.float32), faces.astype(np.int32), face_rgb=bands[ring])
    every_plane = np.ones(len(TURNS), np.float32)
    return Part(mesh, carve(mesh.vertices, mesh.faces), Deformation(), every_plane)


def random_profile(rng: np.random.Generator) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, " L"]]:
    """(radius, height) along an outline, from the bottom's middle to the top's; of a hollow body down again inside."""
    knots = int(rng.integers(2, 7))
    places = np.sort(np.concatenate([[0, 1], rng.uniform(0.08, 0.92, knots - 2)]))
    radii = np.exp(rng.normal(0, rng.choice([0.05, 0.25, 0.5]), knots))
    height = float(np.exp(rng.uniform(np.log(0.5), np.log(5.0))))
    level = np.linspace(0, 1, LEVELS)
    radius = np.interp(level, places, radii)
    if rng.random() < 0.5:  # bent, not folded
        kernel = np.ones(7) / 7
        radius = np.convolve(np.pad(radius, 3, mode="edge"), kernel, mode="valid")
    if rng.random() < 0.25:  # a dome, a ball
        radius = radius * np.sqrt(np.maximum(1 - (2 * np.abs(level - 0.5)) ** rng.uniform(2, 6), 1e-3))
    z = (level - 0.5) * height
    if rng.random() < HOLLOW_SHARE:
        wall = float(rng.uniform(*WALL)) * radius.max()
        inner = level > rng.uniform(0.05, 0.3)
        radius = np.concatenate([[0.0], radius, np.maximum(radius[inner][::-1] - wall, 0.01), [0.0]])
        z = np.concatenate([[z[0]], z, z[inner][::-1], [z[inner][0]]])
        return radius, z
    return np.concatenate([[0.0], radius, [0.0]]), np.concatenate([[z[0]], z, [z[-1]]])


def _turned(
    radii: Float[np.ndarray, " L"], heights: Float[np.ndarray, " L"]
) -> tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "F 3"], Int[np.ndarray, " F"]]:
    """(vertices, faces, ring of each face) of an outline turned about the upright axis."""
    angle = np.arange(SIDES) * (2 * np.pi / SIDES)
    circle = np.stack([np.cos(angle), np.zeros(SIDES), np.sin(angle)], axis=1)
    vertices = radii[:, None, None] * circle + heights[:, None, None] * np.array([0, 1, 0])
    here = np.arange(len(radii) - 1)[:, None] * SIDES + np.arange(SIDES)
    beside = np.arange(len(radii) - 1)[:, None] * SIDES + (np.arange(SIDES) + 1) % SIDES
    faces = np.stack(
        [np.stack([here, here + SIDES, beside], -1), np.stack([beside, here + SIDES, beside + SIDES], -1)], 2
    )
    return vertices.reshape(-1, 3), faces.reshape(-1, 3), np.repeat(np.arange(len(radii) - 1), 2 * SIDES)


def _bands(rng: np.random.Generator, rings: int) -> np.ndarray:
    """A colour for each ring, uint8 [rings, 3]: a few bands, as labels and glazes are."""
    ends = np.sort(rng.integers(0, rings, int(rng.integers(0, 4))))
    colours = np.clip(rng.uniform(0.05, 0.95, (len(ends) + 1, 1)) + rng.normal(0, 0.2, (len(ends) + 1, 3)), 0.02, 0.98)
    return (colours[np.searchsorted(ends, np.arange(rings), side="right")] * 255).astype(np.uint8)
