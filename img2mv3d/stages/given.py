"""Views, and depth from elsewhere -> Depth: none at all, arrays of somebody's own, or a mesh seen from every view.
In: plainly decoded views, "none" or a file. Out: `Depth`.
Why here: the decoder takes any depth; the quick fit is only the one that needs nothing else.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from img2mv3d.errors import DepthError, Img2mv3dError
from img2mv3d.mesh.files import read_mesh
from img2mv3d.mesh.raster import rasterise
from img2mv3d.values import Depth, Views, load_depth


def given_depth(plain: Views, given: str | Path) -> Depth:
    """Depth of the views' rig, z and hit [V, H, W] in world units. given: "none", a depth.npz with z and hit of that
    shape, or a mesh file in world axes and units. Raises DepthError when the file cannot be used.
    """
    if given == "none":
        return Depth(np.zeros_like(plain.mask), np.zeros_like(plain.mask), plain, None, "none")
    path = Path(given)
    if path.suffix == ".npz":
        z, hit, _ = load_depth(path, plain.mask.shape)
        return Depth(z, hit, plain, None, "file")
    try:
        mesh = read_mesh(path)
    except Img2mv3dError as error:
        raise DepthError(f"{path}: neither depth.npz nor a mesh that can be read ({error})") from None
    z = np.zeros(plain.mask.shape, np.float32)
    hit = np.zeros(plain.mask.shape, np.float32)
    for view, camera in enumerate(plain.rig.cameras(plain.mask.shape[1])):
        seen = rasterise(mesh.vertices, mesh.faces, camera)
        there = seen.face >= 0
        z[view] = np.where(there, seen.z, 0)
        hit[view] = there
    if not hit.any():
        raise DepthError(f"{path}: no view sees this mesh; its unit is half the image's width, +Y up, its front to +Z")
    return Depth(z, hit, plain, None, "mesh")
