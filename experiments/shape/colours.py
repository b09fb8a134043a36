"""Colours of finished meshes against the truth: `python -m experiments.shape.colours CORPORA... --runs NOW [BEFORE]`.

NOW and BEFORE are folders of runs of photos that `experiments.shape.photos` made with `--light even`; a run's name is
its object's. Mesh and object are seen, without light, from several sides round the upright axis; means over objects of
PSNR inside of the object's outline, of the feature distance and of the shape's figures, and how far NOW is ahead of
BEFORE with its 95 % interval. Then what the runs say of their textures: share of the texels by origin, contrast of
seams over the usual one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from experiments.shape.photos import PITCH_DEG, pose_of
from img2mv3d.data.corpus import Solid, load_solid
from img2mv3d.data.scene import place
from img2mv3d.eval.comparison import interval
from img2mv3d.eval.protocol import FRAMING_PX
from img2mv3d.eval.scores import depth_shift, file_figures
from img2mv3d.geometry.cameras import Camera
from img2mv3d.geometry.compositing import over_white
from img2mv3d.geometry.similarity import psnr
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.preview import render_mesh
from img2mv3d.nets.features import feature_distance, features
from img2mv3d.report.gather import mesh_of

AZIMUTHS = (0, 20, -20, 45, -45, 180)
SHAPES = ("f_02", "f_05", "outline_iou")
SIZE = 256
POINTS = 4000


def true_mesh(solid: Solid, name: str) -> MeshArrays:
    """The object as its photo shows it, in the front camera's frame."""
    vertices = place(solid.vertices, pose_of(name), FRAMING_PX)[0]
    corners = vertices[solid.faces].reshape(-1, 3).astype(np.float64)
    faces = np.arange(len(corners)).reshape(-1, 3)
    if solid.uv is None or solid.texture is None:
        colors = np.repeat(
            solid.face_rgb if solid.face_rgb is not None else np.full((len(faces), 3), 128, np.uint8), 3, 0
        )
        return MeshArrays(corners, faces, colors)
    uv = solid.uv.reshape(-1, 2) * (1, -1) + (0, 1)
    return MeshArrays(corners, faces, np.zeros((len(corners), 3), np.uint8), uv, solid.texture[..., :3])


def found_mesh(run: Path, truth: MeshArrays) -> MeshArrays:
    """A run's mesh in the front camera's frame, at its best place along the line of sight."""
    notes = json.loads((run / "mesh.json").read_text())
    mesh, _ = mesh_of(run)
    file_from_world = np.array(notes["file_from_world"])
    vertices = (mesh.vertices - file_from_world[:3, 3]) @ np.linalg.inv(file_from_world[:3, :3]).T
    vertices = tilted(vertices, notes["elevation_deg"])
    few = slice(None, None, len(vertices) // POINTS + 1)
    vertices[:, 2] += depth_shift(vertices[few], truth.vertices[:: len(truth.vertices) // POINTS + 1])
    return MeshArrays(vertices, mesh.faces, mesh.colors, mesh.uv, mesh.texture)


def tilted(vertices: np.ndarray, elevation_deg: float) -> np.ndarray:
    """Upright vertices as a camera at that elevation sees them."""
    cos, sin = np.cos(np.radians(elevation_deg)), np.sin(np.radians(elevation_deg))
    turned: np.ndarray = vertices @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]).T
    return turned


def seen(mesh: MeshArrays, azimuth_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """(colours over white, alpha) from that side of the front, float32 in [0, 1]."""
    upright = tilted(mesh.vertices, -PITCH_DEG)
    turned = MeshArrays(upright, mesh.faces, mesh.colors, mesh.uv, mesh.texture)
    picture = render_mesh(turned, Camera.orbit(azimuth_deg, PITCH_DEG, half_width=1.0), SIZE, style="unlit") / 255.0
    return over_white(picture[..., :3], picture[..., 3:]).astype(np.float32), picture[..., 3].astype(np.float32)


def figures(run: Path, truth: MeshArrays) -> list[float]:
    """PSNR (dB) at each of AZIMUTHS, then the feature distances, then SHAPES."""
    import torch

    mesh, net = found_mesh(run, truth), features()
    decibels, distances = [], []
    for azimuth in AZIMUTHS:
        (mine, _), (true, alpha) = seen(mesh, azimuth), seen(truth, azimuth)
        decibels.append(psnr(mine, true, (alpha >= 0.5).astype(np.float32)))
        both = torch.from_numpy(np.stack([mine, true]).transpose(0, 3, 1, 2).copy())
        with torch.inference_mode():
            distances.append(float(feature_distance(both[:1], both[1:], net)))
    shape = file_figures((mesh.vertices, mesh.faces), (truth.vertices, truth.faces), shift=False)
    return decibels + distances + [shape[name] for name in SHAPES]


def textures(runs: list[Path]) -> str:
    """Means of what the runs say of their textures."""
    notes = [json.loads((run / "mesh.json").read_text()) for run in runs]
    origins = sorted({name for note in notes for name in note["seen"]})
    shares = ", ".join(f"{name} {np.mean([n['seen'].get(name, 0) for n in notes]):.3f}" for name in origins)
    seams = np.median([n["likeness"]["seam_jump"] / max(n["likeness"]["seam_usual"], 1e-6) for n in notes])
    return f"origin of texels: {shares}; seams: {seams:.2f} times the usual contrast (median)"


def main(asked: argparse.Namespace) -> None:
    """Print the table."""
    found: dict[str, list[list[float]]] = {}
    for run in sorted(path.parent for path in asked.runs[0].glob("*/mesh.json")):
        path = next((p for c in asked.corpora if (p := c / "objects" / f"{run.name}.npz").exists()), None)
        if path is None or not all((folder / run.name / "mesh.json").exists() for folder in asked.runs):
            continue
        truth = true_mesh(load_solid(path), run.name)
        for folder in asked.runs:
            found.setdefault(str(folder), []).append(figures(folder / run.name, truth))
        print(run.name, {k: np.round(v[-1], 2).tolist() for k, v in found.items()}, flush=True)
    heads = [f"dB at {a}" for a in AZIMUTHS] + [f"features at {a}" for a in AZIMUTHS] + list(SHAPES)
    values = [np.array(rows) for rows in found.values()]
    for k, head in enumerate(heads):
        cells = [f"{rows[:, k].mean():.3f}" for rows in values]
        if len(values) > 1:
            gain, half = interval(values[0][:, k] - values[1][:, k])
            cells.append(f"{gain:+.3f} +- {half:.3f}")
        print(f"| {head} |", " | ".join(cells), "|")
    for folder in asked.runs:
        print(folder.name, textures([path.parent for path in folder.glob("*/mesh.json")]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    main(parser.parse_args())
