"""Arrays and pictures -> text inside of a page; assets/page.js undoes it."""

from __future__ import annotations

import base64
import io
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Rig

if TYPE_CHECKING:
    from img2mv3d.mesh.arrays import MeshArrays

PER_UNIT, SHIFT = 1000.0, 4.0  # of the coded depth: steps of 1/1000 world unit (an eighth of a px), -4 to 4
RADIUS = 0.1  # world units: the decoder's r, plans' standard
QUALITY = 90  # of lossy pictures


def picture(pixels: np.ndarray, *, lossless: bool = False) -> str:
    """uint8 [H, W, 3 or 4] -> a data URL. Lossless: PNG, which keeps alpha; else JPEG."""
    from PIL import Image

    sink = io.BytesIO()
    if lossless:
        Image.fromarray(pixels).save(sink, format="PNG", compress_level=6)
    else:
        Image.fromarray(pixels).save(sink, format="JPEG", quality=QUALITY, subsampling=0)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(sink.getvalue()).decode()}"


def packed(values: np.ndarray) -> str:
    """The bytes of an array of any shape (little-endian, rows first), compressed, as base64."""
    plain = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(zlib.compress(plain.tobytes(), 9)).decode()


def planes(values: np.ndarray) -> np.ndarray:
    """uint16 [..., W] -> uint8 [2 N]: differences along each row, all low bytes before all high ones: smooth maps
    become nearly all zeros.
    """
    steps = np.diff(values, axis=-1, prepend=np.uint16(0)).astype("<u2")  # modulo 2^16, as the page adds them up
    return np.concatenate([(steps & 255).ravel(), (steps >> 8).ravel()]).astype(np.uint8)


def packed_depth(z: np.ndarray, hit: np.ndarray) -> str:
    """z [V, H, W] in world units, hit in 0..1 -> `planes` of z's code, 0 where nothing is hit."""
    code = np.round((z.astype(np.float64) + SHIFT) * PER_UNIT).clip(1, 2 * SHIFT * PER_UNIT)
    return packed(planes(np.where(hit >= 0.5, code, 0).astype(np.uint16)))


def packed_rig(rig: Rig, z: np.ndarray, hit: np.ndarray, same: float) -> dict[str, Any] | None:
    """What the page needs to draw lines from z and hit [V, H, W] (world units, opacity); None where a pixel's line is
    not its own row.

    same: depths that differ by less are one surface.
    """
    if rig.kind != ORTHOGRAPHIC or any(rig.elevation_deg) or z.shape[1] != z.shape[2]:
        return None
    numbers = {"size": z.shape[-1], "width": rig.width, "azimuth_deg": list(rig.azimuth_deg)}
    code = {"per_unit": PER_UNIT, "shift": SHIFT, "radius": RADIUS, "same": same}
    return {**numbers, **code, "depth": packed_depth(z, hit)}


def packed_mesh(mesh: MeshArrays) -> dict[str, Any]:
    """Vertices as uint16 shares of the box, which is moved to the origin and scaled so that the ball round it has the
    radius 1; normals int8; uv uint16; colours uint8; faces uint32 [F * 3]; the texture as a data URL or None.
    """
    from img2mv3d.mesh.arrays import vertex_normals

    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    span = np.maximum(high - low, 1e-9)
    radius = float(np.linalg.norm(mesh.vertices - (low + high) / 2, axis=1).max()) or 1.0
    textured = mesh.uv is not None and mesh.texture is not None
    uv = mesh.uv if textured else np.zeros((len(mesh.vertices), 2))
    return {
        "low": (-span / 2 / radius).tolist(),
        "span": (span / radius).tolist(),
        "places": packed(np.round((mesh.vertices - low) / span * 65535).astype(np.uint16)),
        "normals": packed(np.round(_smooth_normals(mesh, vertex_normals) * 127).astype(np.int8)),
        "uv": packed(np.round(uv.clip(0, 1) * 65535).astype(np.uint16)),
        "colors": packed(np.zeros((len(mesh.vertices), 3), np.uint8) if textured else mesh.colors[:, :3]),
        "faces": packed(mesh.faces.astype(np.uint32)),
        "texture": picture(mesh.texture) if textured else None,
    }


def _smooth_normals(mesh: MeshArrays, vertex_normals: Any) -> np.ndarray:
    """Normals over the body whose seams are closed: vertices at one place share theirs."""
    places, index = np.unique(mesh.vertices, axis=0, return_inverse=True)
    index = index.reshape(-1)
    return vertex_normals(places, index[mesh.faces])[index]
