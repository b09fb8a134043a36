"""A folder of mesh files -> a corpus to train on: `python examples/make_corpus.py MESHES CORPUS [LICENCE] [AUTHOR]`.

Every mesh must stand upright (+Y up, front to +Z). Every 20th is held out. Rendering needs the extra `train`.
"""

import csv
import sys
from pathlib import Path

import numpy as np

from img2mv3d.errors import Img2mv3dError
from img2mv3d.mesh.files import read_mesh

COLUMNS = ("id", "licence", "category", "faces", "vertices", "colour", "cutout", "split", "author")


def main(meshes: Path, corpus: Path, licence: str = "CC0-1.0", author: str = "") -> None:
    """Write objects/ID.npz for each mesh that can be read, and manifest.tsv."""
    (corpus / "objects").mkdir(parents=True, exist_ok=True)
    rows = []
    for path in sorted(p for p in meshes.rglob("*") if p.is_file()):
        try:
            mesh = read_mesh(path)
        except Img2mv3dError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        name = f"own-{len(rows):05d}-{path.stem}".replace("\t", " ")
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        centred = mesh.vertices - (low + high) / 2
        arrays = {"vertices": (centred / (2 * np.linalg.norm(centred, axis=1).max())).astype(np.float32)}
        arrays["faces"] = mesh.faces.astype(np.int32)
        if mesh.texture is not None and mesh.uv is not None:
            uv = mesh.uv[mesh.faces].astype(np.float32)
            arrays |= {"uv": np.stack([uv[..., 0], 1 - uv[..., 1]], axis=-1), "texture": mesh.texture}
        else:
            arrays["face_rgb"] = mesh.colors[mesh.faces].mean(1).astype(np.uint8)
        np.savez_compressed(corpus / "objects" / f"{name}.npz", **arrays)
        split = "val" if len(rows) % 20 == 19 else "train"
        size = (len(mesh.faces), len(mesh.vertices))
        rows.append(dict(zip(COLUMNS, (name, licence, "own", *size, "multi", 0, split, author), strict=True)))
    with (corpus / "manifest.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, COLUMNS, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
        )
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} objects in {corpus}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
