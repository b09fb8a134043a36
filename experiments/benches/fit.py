"""What the fit costs: threads, its two renderers side by side, and a NeuS with networks.

`python -m experiments.benches.fit MESHES -o fit.md`. What is compared runs in turns within one process, CPU seconds
beside.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from experiments.benches.runs import Row, machine, write
from experiments.fit.exact_views import score
from experiments.fit.neus_mlp import BATCH, STEPS, NetworkFit
from experiments.fit.truth import Truth, truth_of
from img2mv3d.data.corpus import load_solid
from img2mv3d.eval.objects import untouched
from img2mv3d.geometry.cameras import SIX_VIEWS, Camera, Rig
from img2mv3d.mesh.extract import isosurface
from img2mv3d.neus import narrow_band, reference
from img2mv3d.neus.anyrig import BATCH as RAYS_BATCH
from img2mv3d.neus.anyrig import optimise_rays, ray_targets
from img2mv3d.neus.fit import FINAL, QUICK, FitOptions, fit
from img2mv3d.neus.optimise import LevelFit
from img2mv3d.neus.options import Level
from img2mv3d.neus.raygrid import NodeRays
from img2mv3d.neus.render import SHARPNESS, render
from img2mv3d.neus.targets import block_of, hull_field, view_targets

OBJECTS = 3  # for the threads
REPEATS = 2
NETWORK_NODES = 96  # of the grid on which the network's field is read


class Spent(NamedTuple):
    """Seconds of the wall clock, and of all threads of this process."""

    wall: float
    cpu: float


class Agreement(NamedTuple):
    """Two renderings of one field: quantiles 50 %, 98 % and the largest of absolute differences, over the pixels that
    count.

    opacity: over all rays.
    z: in cells.
    normal: degrees.
    color: of a colour that changes along all three axes, in [0, 1].
    z, normal, color: where both are opaque (above 0.99).
    rays: so many of these.
    """

    opacity: tuple[float, float, float]
    z: tuple[float, float, float]
    normal: tuple[float, float, float]
    color: tuple[float, float, float]
    rays: int


def spent(call: Callable[[], object]) -> Spent:
    """What one call takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def threads(truths: Sequence[Truth], repeats: int = REPEATS) -> list[Row]:
    """Two threads over one for both fits, in turns; of each object the best of `repeats`, then sums over objects."""
    before, rows = torch.get_num_threads(), []
    try:
        for name, options in (("quick", QUICK), ("final", FINAL)):
            best = _best_of_turns(truths, options, repeats)
            one, two = (Spent(*np.sum([b[k] for b in best], axis=0)) for k in (0, 1))
            text = f"{one.wall:.1f} s -> {two.wall:.1f} s (CPU {one.cpu:.1f} -> {two.cpu:.1f} s)"
            ratio = f"{one.wall / two.wall:.2f}x"
            rows.append(Row(f"{name}, {len(truths)} objects, 1 -> 2 threads", f"{text}: {ratio}", "2x"))
    finally:
        torch.set_num_threads(before)
    return rows


def renderers(truth: Truth, size: int = 64, steps: int = 20) -> list[Row]:
    """Nodes against rays: the same field seen by both, and a step of the fit with each, on a grid of `size` nodes."""
    sdf = fit(truth.views.normal, truth.views.mask, truth.views.rig, QUICK.scaled(size)).sdf
    rows = []
    for what, values in agreement(sdf, SIX_VIEWS)._asdict().items():
        text = f"{values}" if isinstance(values, int) else " / ".join(f"{v:.4f}" for v in values)
        rows.append(Row(f"{what}: median / 98 % / largest difference" if what != "rays" else "opaque rays", text))
    by_nodes, by_rays, count = _steps(truth, size, steps)
    per_ray = by_nodes.cpu / count, by_rays.cpu / RAYS_BATCH
    rows += [
        Row(f"nodes: a step of six views, {count} rays", f"CPU {1e3 * by_nodes.cpu:.1f} ms"),
        Row(f"rays: a step of {RAYS_BATCH} rays", f"CPU {1e3 * by_rays.cpu:.1f} ms"),
        Row("rays over nodes, for equally many rays", f"{per_ray[1] / per_ray[0]:.0f}x"),
    ]
    return rows


def agreement(sdf: Float[np.ndarray, "N N N"], rig: Rig) -> Agreement:
    """Both renderers on one field (world units), through the nodes of its grid, over all views of the rig."""
    n = sdf.shape[0]
    cell = 2 / (n - 1)
    cells = torch.from_numpy(sdf).permute(1, 0, 2) / cell  # [x, y, z] -> [y, x, z], as the fit has it
    block = narrow_band.Block((0, 0, 0), (n, n, n), n)
    field, band = narrow_band.find_band(cells.contiguous(), block)
    fitted = (field.permute(1, 0, 2) * cell).contiguous().numpy()  # what the nodes see is what the rays must see
    values = field.flatten()[band.index]
    slope = torch.nn.functional.normalize(reference.differences(values, band)[0], dim=1)
    places = torch.stack([band.ix, band.iy, band.iz], dim=1) * cell - 1
    off: dict[str, list[np.ndarray]] = {"opacity": [], "z": [], "normal": [], "color": []}
    for azimuth in rig.azimuth_deg:
        rays = NodeRays.of(azimuth, n)
        known = torch.ones(n, rays.columns, dtype=torch.bool)
        listed = reference.pack_rays(values, band, rays, known, SHARPNESS)
        sections = reference.composite(values, listed, SHARPNESS)
        table = torch.cat([rays.z(band.ix, band.iz)[:, None], slope, _paint(places)], dim=1)
        picture = torch.zeros(n * rays.columns, 8)
        picture[listed.target, 0] = reference.opacity(listed, sections)
        picture[listed.target, 1:] = reference.accumulate(listed, sections.node_weight, table)
        picture = picture.view(n, rays.columns, 8).flip(0).numpy()  # rows of nodes follow y upwards
        half = rays.pitch * rays.columns / 2
        camera = Camera.orbit(azimuth, half_width=half, size=rays.columns).resized(rays.columns)
        seen = _at_rows(fitted, camera, n, rays.pitch)
        both = (picture[..., 0] > 0.99) & (seen[..., 0] > 0.99)
        opaque = picture[both] / picture[both][:, :1]
        other = seen[both]
        off["opacity"].append(np.abs(picture[..., 0] - seen[..., 0]).ravel())
        off["z"].append(np.abs(opaque[:, 1] - other[:, 1]) / cell)
        unit = opaque[:, 2:5] / np.linalg.norm(opaque[:, 2:5], axis=1, keepdims=True).clip(1e-9)
        off["normal"].append(np.degrees(np.arccos((unit * other[:, 2:5]).sum(1).clip(-1, 1))))
        off["color"].append(np.abs(opaque[:, 5:] - other[:, 5:]).ravel())
    differences = {
        name: tuple(float(v) for v in np.quantile(np.concatenate(a), (0.5, 0.98, 1))) for name, a in off.items()
    }
    return Agreement(**differences, rays=sum(map(len, off["z"])))


def network(truth: Truth, minutes: float = 10.0) -> list[Row]:
    """Wonder3D's NeuS with networks for `minutes` of CPU time, against our final fit of the same views."""
    views = truth.views
    ours: list[np.ndarray] = []
    final = spent(lambda: ours.append(fit(views.normal, views.mask, views.rig, FINAL).sdf))
    other, times, losses = NetworkFit(views), [], []
    while sum(t.cpu for t in times) < 60 * minutes and len(times) < STEPS:
        times.append(spent(lambda: losses.append(other.step())))
    step = Spent(*np.median(np.array(times), axis=0))
    figures = score(ours[0], views, truth.z, truth.surface.points, truth.seen)
    rows = [
        Row("ours, final", f"CPU {final.cpu:.1f} s, F 0.01 / 0.02 {figures.f_01:.3f} / {figures.f_02:.3f}"),
        Row(f"theirs, a step of {BATCH} rays, median of {len(times)}", f"CPU {step.cpu:.1f} s, wall {step.wall:.1f} s"),
        Row(f"theirs, {STEPS} steps (computed)", f"CPU {STEPS * step.cpu / 3600:.1f} h"),
        Row("theirs over ours", f"{STEPS * step.cpu / final.cpu:.0f}x CPU"),
        Row(f"theirs after {len(times)} steps: loss", f"{np.mean(losses[:5]):.3f} -> {np.mean(losses[-5:]):.3f}"),
    ]
    field = other.field(NETWORK_NODES)
    if not (field < 0).any():
        return [*rows, Row(f"theirs after {len(times)} steps", "no surface")]
    found = score(field, views, truth.z, truth.surface.points, truth.seen)
    text = f"IoU {found.iou:.3f}, F 0.01 / 0.02 {found.f_01:.3f} / {found.f_02:.3f}, {len(isosurface(field)[1])} faces"
    return [*rows, Row(f"theirs after {len(times)} steps", text)]


def main(arguments: Sequence[str] | None = None) -> None:
    """python -m experiments.benches.fit MESHES -o fit.md --sections threads,renderers,network --minutes 10"""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--sections", default="threads,renderers,network")
    parser.add_argument("--minutes", type=float, default=10.0, help="of CPU time for the networks")
    parser.add_argument("-o", "--out", type=Path, default=Path("fit.md"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    entries = untouched(given.meshes, OBJECTS)
    truths = [truth_of(load_solid(given.meshes / "objects" / f"{e.id}.npz")) for e in entries]
    made: dict[str, Callable[[], list[Row]]] = {
        "threads": lambda: threads(truths),
        "renderers": lambda: renderers(truths[0]),
        "network": lambda: network(truths[0], given.minutes),
    }
    about = f"{machine()} Objects: {', '.join(e.id for e in entries)}; sections about one object take the first."
    sections = {name: made[name]() for name in given.sections.split(",")}
    write(given.out, sections, about, title="The fit alone", by="`python -m experiments.benches.fit`")
    print(given.out.read_text(encoding="utf-8"))


def _best_of_turns(truths: Sequence[Truth], options: FitOptions, repeats: int) -> list[tuple[Spent, Spent]]:
    """Per object the least seconds with one thread and with two, each taken in turns; the first turn warms up."""
    best = []
    for truth in truths:
        views, found = truth.views, ([], [])
        for turn in range(repeats + (truth is truths[0])):
            for k in (0, 1):
                torch.set_num_threads(k + 1)
                took = spent(lambda v=views: fit(v.normal, v.mask, v.rig, options))
                if turn or truth is not truths[0]:
                    found[k].append(took)
        best.append((min(found[0]), min(found[1])))
    return best


def _steps(truth: Truth, size: int, steps: int) -> tuple[Spent, Spent, int]:
    """(a step through the nodes with all six views, a step along rays, rays that the former serves)."""
    views, level = truth.views, Level(size, steps)
    block = block_of(views.mask, views.rig, size)
    targets = view_targets(views.normal, views.mask, views.rig, size)
    hull = hull_field(targets, block)
    state = LevelFit(hull, hull, targets, block, level, QUICK)
    state.run()  # compiled, warm
    by_nodes = spent(state.run)
    count = sum(int((t.known & (t.distance < 1)).sum()) for t in targets)
    whole = torch.full((size,) * 3, narrow_band.FAR)
    whole[block.slices] = hull
    along = ray_targets(views.normal, views.mask, views.rig, size)
    whole = whole.permute(1, 0, 2).contiguous()
    optimise_rays(whole, along, Level(size, 2), QUICK)
    by_rays = spent(lambda: optimise_rays(whole, along, level, QUICK))
    return Spent(*(v / steps for v in by_nodes)), Spent(*(v / steps for v in by_rays)), count


def _paint(places: Float[torch.Tensor, "*P 3"]) -> Float[torch.Tensor, "*P 3"]:
    """A colour in [0, 1] for every place, smooth, different along each axis."""
    return 0.5 + 0.5 * torch.sin(3 * places)


def _at_rows(sdf: Float[np.ndarray, "N N N"], camera: Camera, rows: int, pitch: float) -> Float[np.ndarray, "N C 8"]:
    """Opacity, z, normal and painted colour by the rays renderer, at the pixels whose centres are the nodes."""
    columns = camera.width
    camera = Camera(camera.kind, camera.world_from_cam, camera.half_width, rows, columns)
    # pixels are square, nodes on a diagonal are not: ask for the rows one by one where they differ
    shots = [] if rows != columns else [render(sdf, camera)]
    for row in range(rows) if rows != columns else ():
        y = 1 - row * 2 / (rows - 1)
        matrix = camera.world_from_cam.copy()
        matrix[:3, 3] = [0, y, 0]
        shots.append(render(sdf, Camera(camera.kind, matrix, camera.half_width, 1, columns)))
    opacity, z, normal = (np.concatenate([getattr(s, k) for s in shots]) for k in ("opacity", "z", "normal"))
    right, forward = camera.world_from_cam[:3, 0], camera.forward
    u = (np.arange(columns) - (columns - 1) / 2) * pitch
    v = 1 - np.arange(rows) * 2 / (rows - 1)
    places = u[None, :, None] * right + v[:, None, None] * np.array([0.0, 1.0, 0.0]) + z[..., None] * forward
    color = _paint(torch.from_numpy(places)).numpy()
    return np.concatenate([opacity[..., None], z[..., None], normal, color], axis=-1)


if __name__ == "__main__":
    main()
