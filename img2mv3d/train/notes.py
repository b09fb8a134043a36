"""What the manifest of every bundle that is trained here says: licence, framing, latent space, data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from img2mv3d.bundles.weights import LATENT_SPACE
from img2mv3d.data.renders import RenderSet

GENERATE = {
    **{"schedule": "mini", "steps": 2, "solver": "dpmpp", "guidance": 1.0, "eta": 0.0, "windows": True},
    "revolution_prior": 0.75,  # chosen for networks of this size, see experiments/reports/mini.md
    "refine_steps": [200, 100],  # from a body's draft, see experiments/reports/shape.md
}
FRAMING_PX = 144
LICENCE = "CC-BY-SA-4.0"  # what weights that learnt from share-alike objects carry; the code stays MIT


def bundle_notes(data: Path, training: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of every bundle that is trained here. training: commands and hours, plain values."""
    rows = RenderSet(Path(data)).rows()
    index = "\n".join(sorted("\t".join(row.values()) for row in rows))
    licences = sorted({row["licence"] for row in rows if row["split"] == "train"})
    return {
        "licence": LICENCE,
        "framing_px": FRAMING_PX,
        "latent_space": LATENT_SPACE,
        "generate": GENERATE,
        "data": {
            "digest": hashlib.sha256(index.encode()).hexdigest(),
            "sets": len(rows),
            "objects": len({row["id"] for row in rows}),
            "held_out_objects": len({row["id"] for row in rows if row["split"] == "val"}),
            "licences": licences,
        },
        "training": dict(training),
    }
