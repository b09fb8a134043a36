"""Held-out meshes as the fit meets them: exact views, and the true surface with what six cameras see of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from img2mv3d.data.corpus import Solid
from img2mv3d.data.raycast import Raycaster, sphere_directions
from img2mv3d.data.scene import Light, place, render
from img2mv3d.eval.surface import DIRECTIONS, SurfacePoints, centre_size, seen_along, visible_surface
from img2mv3d.files.contents import decode_normals, encode_normals, to_bytes
from img2mv3d.geometry.cameras import ORTHOGRAPHIC, SIX_VIEWS, Rig
from img2mv3d.values import Views

SPHERE = 0.5 / 0.675  # world radius of an object's bounding sphere: its corpus radius 1/2 in Wonder3D's object units
THIN = 2 * 2 / 127  # world units, two cells of a grid of 128 nodes: below it a plate has no node deep inside
LEVEL = 0.9  # of a normal's vertical part: the face of a plate that lies
SIDEWAYS = 0.5  # of a direction's vertical part: a way out between two boards, not through a house without a floor


class Truth(NamedTuple):
    """views: exact, as files would hold them.
    z: of the first surface, world units, 0 outside.
    vertices, faces: the mesh in the world.
    surface: points on it that can be seen from outside.
    seen: which of these one of the six cameras sees.
    thin: which of these lie on a level plate thinner than THIN.
    """

    views: Views
    z: Float[np.ndarray, "V H W"]
    vertices: Float[np.ndarray, "N 3"]
    faces: Int[np.ndarray, "F 3"]
    surface: SurfacePoints
    seen: Bool[np.ndarray, " P"]
    thin: Bool[np.ndarray, " P"]


def exact_views(solid: Solid) -> tuple[Views, Float[np.ndarray, "V H W"], Float[np.ndarray, "N 3"]]:
    """(views as files would hold them, z, vertices in the world): upright, as large as Wonder3D frames its objects."""
    width, height = np.ptp(solid.vertices[:, 0]), np.ptp(solid.vertices[:, 1])
    framing = round(float(max(width, height)) * SPHERE * 2 * 128)
    upright = np.eye(3)
    renders = render(solid, upright, framing, Light(occlusion=0.0), np.random.default_rng(0))
    mask = to_bytes(renders.mask).astype(np.float32) / 255
    normal = decode_normals(encode_normals(renders.normal, renders.mask), mask)
    placed, _ = place(solid.vertices, upright, framing)
    return Views(renders.color, normal, mask, SIX_VIEWS), renders.z, placed


def truth_of(solid: Solid) -> Truth:
    """All that a method is judged by. The same points every time."""
    views, z, vertices = exact_views(solid)
    surface = visible_surface(vertices, solid.faces, np.random.default_rng(1))
    seen = seen_by(surface, vertices, solid.faces, views.rig)
    return Truth(views, z, vertices, solid.faces, surface, seen, thin_plates(surface, vertices, solid.faces, THIN))


def seen_by(
    surface: SurfacePoints, vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], rig: Rig
) -> Bool[np.ndarray, " P"]:
    """Which of the mesh's points at least one of the rig's cameras sees, not only edge-on. The rig is orthographic."""
    if rig.kind != ORTHOGRAPHIC:
        raise ValueError("seen_by: expected an orthographic rig")
    centre, size = centre_size(vertices)
    world = Raycaster((vertices - centre) / size, faces)
    towards = -np.stack([camera.forward for camera in rig.cameras(8)])
    return seen_along(world, (surface.points - centre) / size, surface.normals, towards)


def thin_plates(
    surface: SurfacePoints, vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], thickness: float
) -> Bool[np.ndarray, " P"]:
    """Which of the mesh's points lie on a level plate (or sheet) thinner than `thickness` (units of the mesh): the
    point sees the outside sideways above, and so does a place so far below it; or upside down.
    """
    centre, size = centre_size(vertices)
    world = Raycaster((vertices - centre) / size, faces)
    lying = np.flatnonzero(np.abs(surface.normals[:, 1]) > LEVEL)
    points, normals = (surface.points[lying] - centre) / size, surface.normals[lying]
    sideways = sphere_directions(DIRECTIONS)
    sideways = sideways[np.abs(sideways[:, 1]) < SIDEWAYS]
    thin = np.zeros(len(surface.points), bool)
    for side in (-1.0, 1.0):
        open_ = seen_along(world, points, normals, sideways[side * sideways[:, 1] > 0])
        behind = points - [0.0, side * thickness / size, 0.0]
        open_[open_] = _free(world, behind[open_], sideways)
        thin[lying[open_]] = True
    return thin


def _free(
    world: Raycaster, points: Float[np.ndarray, "P 3"], directions: Float[np.ndarray, "D 3"]
) -> Bool[np.ndarray, " P"]:
    """Whether nothing stands on at least one of the ways from each point."""
    free = np.zeros(len(points), bool)
    for direction in directions:
        left = np.flatnonzero(~free)
        free[left] = ~world.blocked(points[left], np.broadcast_to(direction, (len(left), 3)))
    return free
