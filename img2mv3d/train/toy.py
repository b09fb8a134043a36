"""A data folder small enough to try every training in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from img2mv3d.conventions import LATENT_FACTOR
from img2mv3d.data.renders import INDEX_COLUMNS, RenderSet
from img2mv3d.data.shape_pictures import PICTURE, random_picture
from img2mv3d.data.turned import turned_part
from img2mv3d.files.contents import write_npz

SIDE = 64  # px
SETS = 4  # the last one is held out


def make_toy(data: Path) -> Path:
    """Three training sets and one held-out set of 64 px: a coloured rectangle in every view, on the plane z = 0.

    Its latents are block means of the pictures, so that there is something to learn. In `shapes` lie pictures of turned
    bodies. Returns `data`.
    """
    (data / "sets").mkdir(parents=True, exist_ok=True)
    (data / "latents").mkdir(exist_ok=True)
    sets, rng = RenderSet(data), np.random.default_rng(0)
    lines = ["\t".join(INDEX_COLUMNS)]
    for i in range(SETS):
        mask = np.zeros((6, SIDE, SIDE), np.uint8)
        mask[:, 12:52, 16:44] = 255
        codes = [rng.integers(0, 200, (6, 1, 1, 3)) for _ in range(2)]
        color, normal = (np.where(mask[..., None] > 0, code, 255).astype(np.uint8) for code in codes)
        arrays = {
            "color": color,
            "mask": mask,
            "normal": normal,
            "z": np.zeros((6, SIDE, SIDE), np.float16),
            "photo": np.concatenate([color[0], mask[0][..., None]], axis=-1),
            "framing_px": np.array(40, np.int32),
        }
        name = f"toy-{i}.0"
        write_npz(sets.set_path(name), **arrays)
        latents = {"color": _latents(color), "normal": _latents(normal), "photo": _latents(color[:1])[0]}
        sets.write_latents(name, "teacher", **latents)
        lines.append("\t".join([f"toy-{i}", "0", "val" if i == SETS - 1 else "train", "toy", "CC0-1.0", "1"]))
    (data / "index.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for split, count in (("train", 4), ("dev", 1)):
        (data / "shapes" / split).mkdir(parents=True, exist_ok=True)
        records = [random_picture("toy", [turned_part(rng)], rng) for _ in range(count)]
        np.save(data / "shapes" / split / "00000.npy", np.array(records, PICTURE))
    return data


def _latents(pictures: UInt8[np.ndarray, "N H W 3"]) -> Float[np.ndarray, "N 4 h w"]:
    cells = SIDE // LATENT_FACTOR
    blocks = pictures.reshape(-1, cells, LATENT_FACTOR, cells, LATENT_FACTOR, 3).mean(axis=(2, 4))
    blocks = blocks.transpose(0, 3, 1, 2) / 127.5 - 1
    return np.concatenate([blocks, blocks.mean(axis=1, keepdims=True)], axis=1)
