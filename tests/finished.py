"""The folder of a finished run without any network: exact views of a torus, their depth, its mesh."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from img2mv3d.files.contents import to_bytes, write_json
from img2mv3d.files.durable import digest_file
from img2mv3d.flow.graph import STAGES
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.geometry.sdf import Torus, render_world, sample_grid, surface_color
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.extract import extract
from img2mv3d.mesh.files import write_mesh
from img2mv3d.values import Depth, Subject, Views, save_views

SIDE = 96
SOLID = Torus(ring=0.5, tube=0.2, axis=2)


def finished_run(folder: Path, *, name: str = "ring.png", **more: object) -> Path:
    """Write such a run into `folder`/out, its photo into `folder`; more goes into run.json."""
    out = folder / "out"
    out.mkdir(parents=True)
    color, normal, mask, z = render_world(SOLID, SIX_VIEWS, SIDE)
    views = Views(color, normal, mask, SIX_VIEWS)
    noise = np.random.default_rng(0).normal(0, 0.1, color.shape) * mask[..., None]
    plain = Views((color + noise).clip(0, 1).astype(np.float32), normal, mask, SIX_VIEWS)
    save_views(views, out / "views")
    Depth(z.astype(np.float32), mask, plain).save(out)
    front = np.concatenate([to_bytes(color[0]), to_bytes(mask[0])[..., None]], axis=-1)
    framed = np.asarray(Image.fromarray(front).resize((256, 256), Image.Resampling.NEAREST))
    Subject(framed, framed, Framing((1.0, 1.0), (0.0, 0.0), 144)).save(out)
    body = extract(sample_grid(SOLID, 48), faces=2_000)
    mesh = MeshArrays(body.vertices, body.faces, to_bytes(surface_color(body.vertices)))
    facts = write_mesh(mesh, out / "mesh.glb")
    write_json(out / "mesh.json", facts | {"watertight": True, "seen": {"photo": 0.3, "views": 0.6, "none": 0.1}})
    Image.new("RGB", (80, 60), "teal").save(folder / name)
    record = {
        "format": "img2mv3d-run/1",
        "version": "0.1.0",
        "seed": 7,
        "settings": {"bundle": "mini"},
        "source": {"kind": "photo", "name": name, "digest": digest_file(folder / name)},
        "stages": {s: {"seconds": 2.0 + i, "peak_bytes": 10**9} for i, s in enumerate(STAGES)},
        "last": {s: {"how": "computed", "seconds": 1.0} for s in STAGES},
        "warnings": ["a leg is thin"],
    }
    (out / "run.json").write_text(json.dumps(record | more))
    return out
