"""The seven nouns of the flow, as frozen values: what each stage takes and gives, and how each lies on disk.

In and out: numpy arrays and plain numbers; `save(folder)` writes the files that DESIGN calls by name, `load(folder)`
reads and checks them. Inverses stand side by side. Why here: stages, store and commands share these and nothing else.
Torch is imported only where a latents file is read or written, so that a cached run stays light.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from img2mv3d.conventions import IMAGE_SIZE, LATENT_CHANNELS, LATENT_FACTOR
from img2mv3d.errors import DepthError, InputError, LatentsError, PhotoError, SurfaceError, ViewsError
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.framing import Framing

LATENTS_FORMAT = "img2mv3d-latents/1"
MAX_VIEWS = 16
MAX_SIDE = 1024  # px of a view, nodes of a grid: larger files are refused before anything is allocated


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as the user sees it: upright, sRGB.

    rgba: uint8 [H, W, 4]; alpha is 255 everywhere when the file had none (`has_alpha` tells). name: the file's name,
    for messages. warnings: what reading had to change, one sentence each.
    """

    rgba: np.ndarray
    has_alpha: bool
    name: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Subject:
    """The object cut out of its photo.

    image: uint8 [256, 256, 4], straight alpha, framed for the generator. full: uint8 [H, W, 4], the cut-out at the
    photo's resolution. framing: from full's pixels to image's. warnings: one sentence each.
    """

    image: np.ndarray
    full: np.ndarray
    framing: Framing
    remover: str = "alpha"
    warnings: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write subject.png, subject_full.png, prepare.json."""
        write_png(folder / "subject.png", self.image)
        write_png(folder / "subject_full.png", self.full)
        notes = {"framing": asdict(self.framing), "remover": self.remover, "warnings": list(self.warnings)}
        write_json(folder / "prepare.json", notes)

    @classmethod
    def load(cls, folder: Path) -> Subject:
        """Read what `save` wrote. Raises PhotoError when a file is missing or not of the form above."""
        notes = read_json(folder / "prepare.json", PhotoError)
        try:
            numbers = notes["framing"]
            framing = Framing(_pair(numbers["scale"]), _pair(numbers["offset"]), int(numbers["framing_px"]))
            remover, warnings = str(notes["remover"]), tuple(str(w) for w in notes["warnings"])
        except (KeyError, TypeError, ValueError) as error:
            raise PhotoError(
                f"{folder / 'prepare.json'}: not as `prepare` writes it ({error}); run prepare again"
            ) from None
        image = read_png(folder / "subject.png", "RGBA", PhotoError)
        if image.shape != (IMAGE_SIZE, IMAGE_SIZE, 4):
            raise PhotoError(f"{folder / 'subject.png'}: {image.shape[1]} x {image.shape[0]} px, expected 256 x 256")
        return cls(image, read_png(folder / "subject_full.png", "RGBA", PhotoError), framing, remover, warnings)


@dataclass(frozen=True, eq=False)
class Latents:
    """Six views as latents.

    color, normal: float32 [V, 4, h, w], scaled; normal may be None. front: uint8 [H, W, 4], the framed photo
    (straight alpha).
    rig: the cameras. framing_px: as `Framing`. vae: {"name", "digest"} of the latent space. bundle: name of the
    weights.
    seed: int. settings: plain values that tell how it was made.
    """

    color: np.ndarray
    normal: np.ndarray | None
    front: np.ndarray
    rig: Rig
    framing_px: int
    vae: dict[str, str]
    bundle: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write latents.pt; readable with torch.load(weights_only=True). Equal values give equal bytes."""
        save_latents(self, folder / "latents.pt")

    @classmethod
    def load(cls, folder: Path) -> Latents:
        """Read `folder`/latents.pt. Raises LatentsError."""
        return load_latents(folder / "latents.pt")


@dataclass(frozen=True, eq=False)
class Views:
    """Pictures of the object from the cameras of a rig.

    color: float32 [V, H, W, 3] in [0, 1], over white. normal: float32 [V, H, W, 3], unit vectors in world axes, (0,
    0, 0) outside of the mask, or None. mask: float32 [V, H, W] in [0, 1]. origin: where masks and pictures come from,
    one word or two.
    """

    color: np.ndarray
    normal: np.ndarray | None
    mask: np.ndarray
    rig: Rig
    origin: str = "exact"
    warnings: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write views/color_<view>.png and normal_<view>.png (RGBA, alpha = mask; normals coded n / 2 + 1/2) and
        views.json.
        """
        save_views(self, folder / "views")

    @classmethod
    def load(cls, folder: Path) -> Views:
        """Read `folder`/views. Raises ViewsError."""
        return load_views(folder / "views")


@dataclass(frozen=True, eq=False)
class Depth:
    """A coarse surface seen from every view.

    z: float32 [V, H, W], world units, 0 where hit is 0. hit: float32 [V, H, W], opacity in [0, 1]. plain: the plainly
    decoded views that the surface was fitted to (or whatever came with the depth). coarse: float32 [N, N, N] SDF in
    world units, or None.
    origin: "neus", "hull", "none", "file" or "mesh".
    """

    z: np.ndarray
    hit: np.ndarray
    plain: Views
    coarse: np.ndarray | None = None
    origin: str = "neus"
    warnings: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write plain/*.png, depth.npz (z, hit, origin, warnings) and, if there is one, coarse.npz (sdf)."""
        save_views(self.plain, folder / "plain")
        notes = json.dumps({"origin": self.origin, "warnings": list(self.warnings)})
        write_npz(folder / "depth.npz", z=self.z, hit=self.hit, notes=np.frombuffer(notes.encode(), np.uint8))
        if self.coarse is not None:
            write_npz(folder / "coarse.npz", sdf=self.coarse)

    @classmethod
    def load(cls, folder: Path) -> Depth:
        """Read what `save` wrote. Raises DepthError or ViewsError."""
        plain = load_views(folder / "plain")
        z, hit, notes = load_depth(folder / "depth.npz", plain.mask.shape)
        coarse = None
        if (folder / "coarse.npz").exists():
            coarse = _grid(folder / "coarse.npz")
        return cls(z, hit, plain, coarse, notes.get("origin", "file"), tuple(notes.get("warnings", ())))


@dataclass(frozen=True, eq=False)
class Surface:
    """The final surface.

    sdf: float32 [N, N, N], world units, negative inside, nodes at linspace(-1, 1, N) along x, y, z. figures: plain
    numbers about the fit (silhouette IoU and the like). warnings: one sentence each.
    """

    sdf: np.ndarray
    figures: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write surface.npz."""
        notes = json.dumps({"figures": self.figures, "warnings": list(self.warnings)}, sort_keys=True)
        write_npz(folder / "surface.npz", sdf=self.sdf, notes=np.frombuffer(notes.encode(), np.uint8))

    @classmethod
    def load(cls, folder: Path) -> Surface:
        """Read `folder`/surface.npz. Raises SurfaceError."""
        return load_surface(folder / "surface.npz")


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh in world axes and units.

    vertices: float64 [N, 3]. faces: int64 [F, 3], counter-clockwise seen from outside. colors: uint8 [N, 3] sRGB. uv:
    float64 [N, 2] (v upwards, as trimesh and glTF writers expect) or None. texture: uint8 [T, T, 3] or None. notes:
    what was checked and counted.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    notes: dict[str, Any] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------------------- files


def save_latents(latents: Latents, path: Path) -> None:
    """Write the dict that DESIGN section 2 describes. The bytes depend on the values alone, not on the file's name."""
    import io

    import torch

    record = {
        "format": LATENTS_FORMAT,
        "color": torch.from_numpy(np.ascontiguousarray(latents.color, np.float32)),
        "normal": None
        if latents.normal is None
        else torch.from_numpy(np.ascontiguousarray(latents.normal, np.float32)),
        "front": torch.from_numpy(np.ascontiguousarray(latents.front.transpose(2, 0, 1))),
        "rig": latents.rig.to_dict(),
        "framing_px": int(latents.framing_px),
        "vae": dict(latents.vae),
        "bundle": latents.bundle,
        "seed": int(latents.seed),
        "settings": dict(latents.settings),
    }
    buffer = io.BytesIO()  # torch.save puts a file's own name into the archive: a buffer has none
    torch.save(record, buffer)
    path.write_bytes(buffer.getvalue())


def load_latents(path: Path) -> Latents:
    """Read and check a latents file. Raises LatentsError; nothing in the file is run, sizes are checked before
    reading.
    """
    import torch

    limit = 64 << 20
    try:
        if path.stat().st_size > limit:
            raise LatentsError(
                f"{path}: larger than {limit >> 20} MiB, this is no latents file; give one that `generate` wrote"
            )
        with zipfile.ZipFile(path) as archive:
            if sum(i.file_size for i in archive.infolist()) > limit:
                raise LatentsError(f"{path}: unpacks to more than {limit >> 20} MiB; give one that `generate` wrote")
        record = torch.load(path, map_location="cpu", weights_only=True)
    except LatentsError:
        raise
    except FileNotFoundError:
        raise LatentsError(f"{path}: no such file; `img2mv3d generate` makes one") from None
    except Exception as error:  # torch raises many kinds; all mean the same to the user
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise LatentsError(f"{path}: cannot be read as latents ({reason}); give a file that `generate` wrote") from None
    return _latents_of(record, path)


def _latents_of(record: Any, path: Path) -> Latents:
    import torch

    def bad(what: str) -> LatentsError:
        return LatentsError(f"{path}: {what}; give a file that `generate` wrote")

    if not isinstance(record, dict) or record.get("format") != LATENTS_FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise bad(f"format {found!r}, expected {LATENTS_FORMAT!r}")
    missing = {"color", "normal", "front", "rig", "framing_px", "vae", "bundle", "seed", "settings"} - set(record)
    if missing:
        raise bad(f"lacks {', '.join(sorted(missing))}")
    try:
        rig = Rig.from_dict(record["rig"])
        framing_px, seed = int(record["framing_px"]), int(record["seed"])
        vae = {str(k): str(v) for k, v in record["vae"].items()}
        settings = dict(record["settings"])
    except (ValueError, TypeError, AttributeError) as error:
        raise bad(str(error)) from None
    color, normal, front = record["color"], record["normal"], record["front"]
    for name, tensor in (("color", color), ("normal", normal)):
        if tensor is None and name == "normal":
            continue
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32 or tensor.ndim != 4:
            raise bad(f"{name} is no float32 tensor [V, {LATENT_CHANNELS}, h, w]")
        if tensor.shape[0] != len(rig) or tensor.shape[1] != LATENT_CHANNELS or tensor.shape[2:] != color.shape[2:]:
            raise bad(f"{name} has shape {tuple(tensor.shape)}, expected ({len(rig)}, {LATENT_CHANNELS}, h, w)")
        if (
            not 1 <= tensor.shape[0] <= MAX_VIEWS
            or not 4 <= min(tensor.shape[2:]) <= max(tensor.shape[2:]) <= MAX_SIDE // LATENT_FACTOR
        ):
            raise bad(f"{name} has shape {tuple(tensor.shape)}, outside of what can be decoded")
        if not torch.isfinite(tensor).all():
            raise bad(f"{name} holds NaN or infinite values")
    if not isinstance(front, torch.Tensor) or front.dtype != torch.uint8 or front.ndim != 3 or front.shape[0] != 4:
        raise bad("front is no uint8 tensor [4, H, W]")
    if tuple(front.shape[1:]) != tuple(LATENT_FACTOR * s for s in color.shape[2:]):
        raise bad(
            f"front is {front.shape[2]} x {front.shape[1]} px for {color.shape[3]} x {color.shape[2]} cells of 8 px"
        )
    return Latents(
        color.contiguous().numpy(),
        None if normal is None else normal.contiguous().numpy(),
        np.ascontiguousarray(front.numpy().transpose(1, 2, 0)),
        rig,
        framing_px,
        vae,
        str(record["bundle"]),
        seed,
        settings,
    )


def save_views(views: Views, folder: Path) -> None:
    """Write color_<view>.png, normal_<view>.png (RGBA, 8 bit, alpha = mask) and views.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    alpha = to_bytes(views.mask)[..., None]
    for i, name in enumerate(views.rig.names):
        write_png(folder / f"color_{name}.png", np.concatenate([to_bytes(views.color[i]), alpha[i]], axis=-1))
        if views.normal is not None:
            write_png(
                folder / f"normal_{name}.png",
                np.concatenate([encode_normals(views.normal[i], views.mask[i]), alpha[i]], axis=-1),
            )
    notes = {
        "rig": views.rig.to_dict(),
        "origin": views.origin,
        "normals": views.normal is not None,
        "warnings": list(views.warnings),
    }
    write_json(folder / "views.json", notes)


def load_views(folder: Path) -> Views:
    """Read a folder of views. Without views.json the names of the six views are taken. Raises ViewsError."""
    if not folder.is_dir():
        raise ViewsError(f"{folder}: no such folder of views; give one with color_front.png and the others")
    notes = read_json(folder / "views.json", ViewsError) if (folder / "views.json").exists() else {}
    try:
        rig = Rig.from_dict(notes["rig"]) if "rig" in notes else Rig()
    except (ValueError, TypeError) as error:
        raise ViewsError(f"{folder / 'views.json'}: {error}") from None
    if len(rig) > MAX_VIEWS:
        raise ViewsError(f"{folder / 'views.json'}: {len(rig)} views, at most {MAX_VIEWS} can be used")
    for name in rig.names:
        if Path(name).name != name or name in ("", ".", ".."):
            raise ViewsError(f"{folder / 'views.json'}: view name {name!r} is no file name")
    pictures = [read_png(folder / f"color_{name}.png", "RGBA", ViewsError) for name in rig.names]
    shapes = {p.shape for p in pictures}
    if len(shapes) != 1 or pictures[0].shape[0] != pictures[0].shape[1]:
        raise ViewsError(f"{folder}: views must be square and of one size, found {sorted(s[1::-1] for s in shapes)}")
    stack = np.stack(pictures)
    mask = stack[..., 3].astype(np.float32) / 255
    normal = None
    with_normals = [(folder / f"normal_{name}.png").exists() for name in rig.names]
    if any(with_normals):
        if not all(with_normals):
            raise ViewsError(
                f"{folder}: normal_{rig.names[with_normals.index(False)]}.png is missing; give all normal maps or none"
            )
        coded = [read_png(folder / f"normal_{name}.png", "RGBA", ViewsError) for name in rig.names]
        if {c.shape for c in coded} != shapes:
            raise ViewsError(f"{folder}: normal maps and colours differ in size")
        normal = decode_normals(np.stack(coded)[..., :3], mask)
    warnings = tuple(str(w) for w in notes.get("warnings", ()))
    return Views(
        stack[..., :3].astype(np.float32) / 255, normal, mask, rig, str(notes.get("origin", "files")), warnings
    )


def load_depth(path: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Read depth.npz: z and hit, float32 of `shape` (V, H, W), and its notes. Raises DepthError."""
    arrays = read_npz(path, DepthError, required=("z", "hit"))
    z, hit = arrays["z"].astype(np.float32), arrays["hit"].astype(np.float32)
    if z.shape != shape or hit.shape != shape:
        raise DepthError(f"{path}: z {z.shape} and hit {hit.shape}, expected {shape} (views, height, width)")
    if not np.isfinite(z).all() or not np.isfinite(hit).all():
        raise DepthError(f"{path}: holds NaN or infinite values; write 0 where nothing was hit")
    notes = json.loads(bytes(arrays["notes"])) if "notes" in arrays else {}
    return np.where(hit > 0, z, 0).astype(np.float32), hit.clip(0, 1), notes


def load_surface(path: Path) -> Surface:
    """Read surface.npz. Raises SurfaceError."""
    sdf = _grid(path)
    arrays = read_npz(path, SurfaceError, required=("sdf",))
    notes = json.loads(bytes(arrays["notes"])) if "notes" in arrays else {}
    return Surface(sdf, notes.get("figures", {}), tuple(notes.get("warnings", ())))


def _grid(path: Path) -> np.ndarray:
    sdf = read_npz(path, SurfaceError, required=("sdf",))["sdf"].astype(np.float32)
    if sdf.ndim != 3 or len(set(sdf.shape)) != 1 or not 8 <= sdf.shape[0] <= 512 or not np.isfinite(sdf).all():
        raise SurfaceError(f"{path}: sdf must be a finite cube of 8 to 512 nodes a side, found shape {sdf.shape}")
    return sdf


def _pair(numbers: Any) -> tuple[float, float]:
    first, second = numbers
    return float(first), float(second)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """float [0, 1] -> uint8, rounded and clipped. / 255 undoes it."""
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def encode_normals(normal: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Unit normals [..., 3] and mask [...] in [0, 1] -> uint8 [..., 3], n / 2 + 1/2 composited over white."""
    cover = mask[..., None]
    return to_bytes((normal / 2 + 0.5) * cover + (1 - cover))


def decode_normals(code: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] and mask [...] -> unit normals float32 [..., 3]; (0, 0, 0) where the mask is below 1/2. Undoes
    `encode_normals`.
    """
    cover = np.clip(mask, 0.5, 1)[..., None]
    normal = ((code.astype(np.float32) / 255 - (1 - cover)) / cover) * 2 - 1
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.where((mask[..., None] >= 0.5) & (length > 1e-3), normal / np.maximum(length, 1e-3), 0).astype(np.float32)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """uint8 [H, W, 3 or 4] -> PNG; the same pixels give the same bytes."""
    from PIL import Image

    Image.fromarray(pixels).save(path, format="PNG", compress_level=4)


def read_png(path: Path, mode: str, error: type[InputError]) -> np.ndarray:
    """A picture of ours -> uint8 [H, W, C] in `mode`. Raises `error` when missing, unreadable or over MAX_SIDE * 16
    px a side.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if max(picture.size) > MAX_SIDE * 16:
                raise error(f"{path}: {picture.size[0]} x {picture.size[1]} px is too large")
            return np.array(picture.convert(mode))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as reason:
        raise error(f"{path}: cannot be read as a picture ({reason})") from None


def write_json(path: Path, notes: Any) -> None:
    """Sorted, indented JSON with a final newline."""
    path.write_text(json.dumps(notes, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, error: type[InputError]) -> dict[str, Any]:
    """A JSON object. Raises `error` when missing or malformed."""
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, ValueError) as reason:
        raise error(f"{path}: is no JSON ({reason})") from None
    if not isinstance(notes, dict):
        raise error(f"{path}: expected a JSON object")
    return notes


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Deterministic compressed npz: fixed dates and order, so that equal arrays give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(arrays):
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)


def read_npz(path: Path, error: type[InputError], *, required: tuple[str, ...]) -> dict[str, np.ndarray]:
    """All arrays of an npz, nothing pickled. Raises `error` when missing, broken, over 1 GiB unpacked or without
    `required` keys.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(i.file_size for i in archive.infolist()) > 1 << 30:
                raise error(f"{path}: unpacks to more than 1 GiB")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as reason:
        raise error(f"{path}: cannot be read as npz ({reason})") from None
    missing = [name for name in required if name not in arrays]
    if missing:
        raise error(f"{path}: lacks the arrays {', '.join(missing)}")
    return arrays
