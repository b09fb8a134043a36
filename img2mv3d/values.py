"""The values of the flow, frozen: what each stage takes and gives, and how each lies on disk.

In and out: numpy arrays and plain numbers; `save(folder)` writes the files of its stage, `load(folder)` reads and
checks them; `files.contents` knows the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from img2mv3d.conventions import IMAGE_SIZE
from img2mv3d.errors import DepthError, PhotoError, SurfaceError, ViewsError
from img2mv3d.files.contents import (
    MAX_VIEWS,
    decode_normals,
    encode_normals,
    pack_notes,
    read_json,
    read_latents,
    read_npz,
    read_png,
    to_bytes,
    unpack_notes,
    write_json,
    write_latents,
    write_npz,
    write_png,
)
from img2mv3d.files.edits import EDIT, agreed_pictures, modified, view_masks_of
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.framing import Framing

BODY_CUT = 0.15  # world units
LATER = 1.0  # s; two files of one stage are written closer together than that


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
        """Read what `save` wrote. Both pictures show one thing: where they differ, the one that was edited last holds;
        where one has lost its transparency, it gets the other's. Raises PhotoError when a file is missing or not of the
        form above, or both have lost it.
        """
        notes = read_json(folder / "prepare.json", PhotoError)
        try:
            numbers = notes["framing"]
            framing = Framing(_pair(numbers["scale"]), _pair(numbers["offset"]), int(numbers["framing_px"]))
            if not 1 <= framing.framing_px <= IMAGE_SIZE or not 0 < min(framing.scale) <= max(framing.scale) < math.inf:
                raise ValueError(f"framing {framing.framing_px} px, scale {framing.scale}")
            remover, warnings = str(notes["remover"]), tuple(str(w) for w in notes["warnings"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise PhotoError(
                f"{folder / 'prepare.json'}: not as `prepare` writes it ({error}); run prepare again"
            ) from None
        image = read_png(folder / "subject.png", "RGBA", PhotoError)
        if image.shape != (IMAGE_SIZE, IMAGE_SIZE, 4):
            raise PhotoError(f"{folder / 'subject.png'}: {image.shape[1]} x {image.shape[0]} px, expected 256 x 256")
        full = read_png(folder / "subject_full.png", "RGBA", PhotoError)
        newer = modified(folder / "subject_full.png") > modified(folder / "subject.png") + LATER
        image, full, framing, said = agreed_pictures(image, full, framing, folder, full_is_newer=newer)
        return cls(image, full, framing, remover, (*warnings, *said))


@dataclass(frozen=True, eq=False)
class BackSubject(Subject):
    """The object on a user's own photo of the back, as `Subject`; its files stand in back/."""

    def save(self, folder: Path) -> None:
        """Write back/subject.png, back/subject_full.png, back/prepare.json."""
        (folder / "back").mkdir(parents=True, exist_ok=True)
        super().save(folder / "back")

    @classmethod
    def load(cls, folder: Path) -> BackSubject:
        """Read what `save` wrote. Raises PhotoError when a file is missing or not of that form."""
        return cls(**vars(Subject.load(folder / "back")))


@dataclass(frozen=True, eq=False)
class Sides:
    """The object on a user's own photos of other sides, by azimuth in degrees (90: what is right in the first photo is
    looked at), each as `Subject`; their files stand in sides/AZIMUTH/.
    """

    parts: Mapping[float, Subject]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of all photos."""
        return tuple(line for subject in self.parts.values() for line in subject.warnings)

    def save(self, folder: Path) -> None:
        """Write sides/AZIMUTH/subject.png, subject_full.png, prepare.json of each."""
        for azimuth, subject in self.parts.items():
            place = folder / "sides" / f"{azimuth:g}"
            place.mkdir(parents=True, exist_ok=True)
            subject.save(place)

    @classmethod
    def load(cls, folder: Path) -> Sides:
        """Read what `save` wrote. Raises PhotoError when a file is missing or not of that form."""
        try:
            places = {float(place.name): place for place in (folder / "sides").iterdir() if place.is_dir()}
        except (OSError, ValueError):
            raise PhotoError(f"{folder / 'sides'}: expected a folder for each photo, called by its azimuth") from None
        return cls({azimuth: Subject.load(places[azimuth]) for azimuth in sorted(places)})


@dataclass(frozen=True, eq=False)
class Latents:
    """Six views as latents.

    color, normal: float32 [V, 4, h, w], scaled; normal may be None. front: uint8 [H, W, 4], the framed photo
    (straight alpha).
    rig: the cameras. framing_px: as `Framing`. vae: {"name", "digest"} of the latent space. bundle: name of the
    weights.
    seed: int. settings: plain values that tell how it was made; in files of version 0.1.0 "rounded" among them is the
    revolution prior of the depth stage. draft: float32 [V, 4, h, w], the colour latents that the denoiser began with,
    where it refined a body's draft; else None.
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
    draft: np.ndarray | None = None

    def save(self, folder: Path) -> None:
        """Write latents.pt; readable with torch.load(weights_only=True). Equal values give equal bytes."""
        write_latents(folder / "latents.pt", vars(self))

    @classmethod
    def load(cls, folder: Path) -> Latents:
        """Read `folder`/latents.pt. Raises LatentsError."""
        return cls(**read_latents(folder / "latents.pt"))


@dataclass(frozen=True, eq=False)
class Body:
    """What the shape network made of a photo: one closed solid, and what it guesses of the side that nobody saw.

    field: float32 [N, N, N], about the signed distance, world units, negative inside, cut at +-BODY_CUT, nodes at
    linspace(-1, 1, N) along x, y, z. far: float32 [T, T, 3], colour of the far side in the front camera's pixels, over
    +-`geometry.columns.CROP`. normal: float32 [S, S, 3], of the near side, over the same. depth_ratio: extent in depth
    over the outline's long side. ratios: float32 [K, 2], log ratio and chance of each. pitch_deg, pitch_spread_deg: how
    far from above the photo was taken, and the Laplace spread of that guess. told: whether somebody gave the ratio.
    box_misfit: by how much (0.1: a tenth) its box misses the proportions that somebody gave; None: nobody did.
    mirror: normal and offset of the plane in which it is nearly its own mirror image; None: there is none. frontal:
    whether the photo shows a front, so that far is no prediction but what the rim's colours say. form: "box" or
    "turned" where it was recognised as one: then its own outline counts, and the photo's only within it. Else "".
    axis: of a turned thing: x of its upright axis, depth along the horizon's direction towards the camera, elevation of
    the camera (degrees); None: it is none. handles: whether it has any; without, it looks the same from behind.
    box: where it was recognised as one, `geometry.boxes.UprightBox` as fifteen numbers.
    """

    field: np.ndarray
    far: np.ndarray
    normal: np.ndarray
    depth_ratio: float
    ratios: np.ndarray
    pitch_deg: float
    pitch_spread_deg: float
    told: bool = False
    box_misfit: float | None = None
    mirror: tuple[float, float, float, float] | None = None
    frontal: bool = False
    form: str = ""
    axis: tuple[float, float, float] | None = None
    box: tuple[float, ...] | None = None
    handles: bool = False

    @property
    def likelihood(self) -> float:
        """How likely its depth is by the predicted distribution, 1 for the likeliest."""
        chance = np.interp(np.log(self.depth_ratio), self.ratios[:, 0], self.ratios[:, 1])
        return float(chance / self.ratios[:, 1].max())

    @property
    def facing_deg(self) -> float | None:
        """Where its front, or its back, points: from -90 (the photo's left) to 90; None: left and right differ."""
        if self.mirror is None:
            return None
        x, y, z, _ = self.mirror
        across = np.hypot(y, z) * (np.sign(z) or 1)
        return float(np.degrees(np.arctan2(-across * (np.sign(x) or 1), abs(x))))

    @property
    def pitch(self) -> tuple[float, float]:
        """(pitch_deg, pitch_spread_deg)"""
        return self.pitch_deg, self.pitch_spread_deg

    def save(self, folder: Path) -> None:
        """Write shape.npz."""
        notes = {
            "depth_ratio": self.depth_ratio,
            "pitch_deg": self.pitch_deg,
            "pitch_spread_deg": self.pitch_spread_deg,
            "told": self.told,
            "box_misfit": self.box_misfit,
            "mirror": self.mirror,
            "frontal": self.frontal,
            "form": self.form,
            "axis": self.axis,
            "handles": self.handles,
            "box": self.box,
        }
        half = {"field": self.field.clip(-BODY_CUT, BODY_CUT), "far": self.far, "normal": self.normal}
        arrays = {name: array.astype(np.float16) for name, array in half.items()}
        write_npz(folder / "shape.npz", **arrays, ratios=self.ratios, notes=pack_notes(notes))

    @classmethod
    def load(cls, folder: Path) -> Body:
        """Read `folder`/shape.npz. Raises SurfaceError."""
        path = folder / "shape.npz"
        arrays = read_npz(path, SurfaceError, required=("field", "far", "normal", "ratios"))
        field_ = _grid({"sdf": arrays["field"]}, path)
        far, normal, ratios = (arrays[name].astype(np.float32) for name in ("far", "normal", "ratios"))
        for name, array, last in (("far", far, 3), ("normal", normal, 3), ("ratios", ratios, 2)):
            if array.ndim != (2 if name == "ratios" else 3) or array.shape[-1] != last or not np.isfinite(array).all():
                raise SurfaceError(f"{path}: {name} is not finite or of shape {array.shape}; run generate again")
        notes = unpack_notes(arrays, path, SurfaceError)
        try:
            numbers = [float(notes[name]) for name in ("depth_ratio", "pitch_deg", "pitch_spread_deg")]
            misfit = None if notes.get("box_misfit") is None else float(notes["box_misfit"])
            mirror = None if notes.get("mirror") is None else _plane(notes["mirror"])
            axis = None if notes.get("axis") is None else _axis(notes["axis"])
            box = None if notes.get("box") is None else _box(notes["box"])
        except (KeyError, TypeError, ValueError):
            raise SurfaceError(
                f"{path}: depth_ratio, pitch_deg or pitch_spread_deg is missing; run generate again"
            ) from None
        told, frontal = (bool(notes.get(name, False)) for name in ("told", "frontal"))
        guesses = misfit, mirror, frontal, str(notes.get("form", "")), axis, box, bool(notes.get("handles", False))
        return cls(field_, far, normal, numbers[0], ratios, numbers[1], numbers[2], told, *guesses)


def _axis(numbers: Any) -> tuple[float, float, float]:
    """x, depth, elevation, out of a file. Raises ValueError."""
    x, depth, elevation_deg = (float(number) for number in numbers)
    if not np.isfinite([x, depth, elevation_deg]).all():
        raise ValueError("no axis")
    return x, depth, elevation_deg


def _box(numbers: Any) -> tuple[float, ...]:
    """Middle, halves and axes, out of a file. Raises ValueError."""
    found = tuple(float(number) for number in numbers)
    rows = np.array(found).reshape(5, 3)
    if not np.isfinite(rows).all() or not (rows[1] > 0).all():
        raise ValueError("no box")
    if not np.allclose(rows[2:] @ rows[2:].T, np.eye(3), atol=1e-3):
        raise ValueError("no axes")
    return found


def _plane(numbers: Any) -> tuple[float, float, float, float]:
    """Normal and offset, out of a file. Raises ValueError."""
    x, y, z, offset = (float(number) for number in numbers)
    if not np.isclose(x * x + y * y + z * z, 1, atol=1e-3) or not np.isfinite(offset):
        raise ValueError("no plane")
    return x, y, z, offset


@dataclass(frozen=True, eq=False)
class Views:
    """Pictures of the object from the cameras of a rig.

    painted: bool [V, H, W], where somebody painted on the colours, or None; no file has it.
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
    painted: np.ndarray | None = None

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
    origin: "neus", "hull", "none", "file" or "mesh". confidence: float32 [V, H, W], probability that z is right
    (`neus.confidence`), or None.
    """

    z: np.ndarray
    hit: np.ndarray
    plain: Views
    coarse: np.ndarray | None = None
    origin: str = "neus"
    warnings: tuple[str, ...] = ()
    confidence: np.ndarray | None = None

    def save(self, folder: Path) -> None:
        """Write plain/*.png, depth.npz (z, hit, confidence if known, origin, warnings) and, if there is one, coarse.npz
        (sdf)."""
        save_views(self.plain, folder / "plain")
        notes = {"origin": self.origin, "warnings": list(self.warnings)}
        known = {} if self.confidence is None else {"confidence": self.confidence}
        write_npz(folder / "depth.npz", z=self.z, hit=self.hit, **known, notes=pack_notes(notes))
        if self.coarse is not None:
            write_npz(folder / "coarse.npz", sdf=self.coarse)

    @classmethod
    def load(cls, folder: Path) -> Depth:
        """Read what `save` wrote. Raises DepthError or ViewsError."""
        plain = load_views(folder / "plain")
        z, hit, notes = load_depth(folder / "depth.npz", plain.mask.shape)
        coarse = None
        if (path := folder / "coarse.npz").exists():
            coarse = _grid(read_npz(path, SurfaceError, required=("sdf",)), path)
        known = read_npz(folder / "depth.npz", DepthError, required=()).get("confidence")
        if known is not None and (known.shape != z.shape or not np.isfinite(known).all()):
            raise DepthError(f"{folder / 'depth.npz'}: confidence {known.shape} is not finite or not as large as z")
        return cls(z, hit, plain, coarse, notes.get("origin", "file"), tuple(notes.get("warnings", ())), known)


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
        notes = {"figures": self.figures, "warnings": list(self.warnings)}
        write_npz(folder / "surface.npz", sdf=self.sdf, notes=pack_notes(notes))

    @classmethod
    def load(cls, folder: Path) -> Surface:
        """Read `folder`/surface.npz. Raises SurfaceError."""
        path = folder / "surface.npz"
        arrays = read_npz(path, SurfaceError, required=("sdf",))
        notes = unpack_notes(arrays, path, SurfaceError)
        return cls(_grid(arrays, path), notes.get("figures", {}), tuple(notes.get("warnings", ())))


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh in world axes and units.

    vertices: float64 [N, 3]. faces: int64 [F, 3], counter-clockwise seen from outside. colors: uint8 [N, 3] sRGB. uv:
    float64 [N, 2] (v upwards, as trimesh and glTF writers expect) or None. texture: uint8 [T, T, 3] or None. notes:
    what was checked and counted. normal_map: uint8 [T, T, 3], see `mesh.arrays.tangents`, or None. roughness, metallic:
    0..1. lods: the same with fewer and fewer faces.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    normal_map: np.ndarray | None = None
    roughness: float = 1.0
    metallic: float = 0.0
    lods: tuple[Mesh, ...] = ()


# ------------------------------------------------------------------------------------- parts that stand alone, too


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
        words = " ".join(str(error).split())[:200]
        raise ViewsError(f"{folder / 'views.json'}: its rig makes no sense ({words})") from None
    if len(rig) > MAX_VIEWS:
        raise ViewsError(f"{folder / 'views.json'}: {len(rig)} views, at most {MAX_VIEWS} can be used")
    for name in rig.names:
        if Path(name).name != name or name in ("", ".", ".."):
            raise ViewsError(f"{folder / 'views.json'}: view name {name!r} is not a file name")
    pictures = [read_png(folder / f"color_{name}.png", "RGBA", ViewsError) for name in rig.names]
    shapes = {p.shape for p in pictures}
    if len(shapes) != 1 or pictures[0].shape[0] != pictures[0].shape[1]:
        raise ViewsError(f"{folder}: views must be square and of one size, found {sorted(s[1::-1] for s in shapes)}")
    stack = np.stack(pictures)
    mask, said = view_masks_of(stack, folder, rig.names)
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
    told = notes.get("warnings", [])
    if not isinstance(told, list):
        raise ViewsError(f"{folder / 'views.json'}: warnings must be a list; leave them out")
    warnings = (*(str(w) for w in told), *said)
    color = stack[..., :3].astype(np.float32) / 255
    if said:  # the background of a picture without transparency is anything
        color = np.where(mask[..., None] > 0, color, np.float32(1))
    return Views(color, normal, mask, rig, str(notes.get("origin", "files")), warnings)


def paint_on(views: Views, original: Views | None, names: set[str]) -> np.ndarray:
    """bool [V, H, W]: where those views of these names show another colour than `original` did; all of their object
    where there is no original."""
    painted = np.zeros(views.mask.shape, bool)
    for i, name in enumerate(views.rig.names):
        if name in names:
            known = original is not None and original.color.shape == views.color.shape
            apart = np.abs(views.color[i] - original.color[i]).max(-1) if known and original else np.inf
            painted[i] = (views.mask[i] > 0.5) & (apart > EDIT / 255)
    return painted


def load_depth(path: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Read depth.npz: z and hit, float32 of `shape` (V, H, W), and its notes. Raises DepthError."""
    arrays = read_npz(path, DepthError, required=("z", "hit"))
    z, hit = arrays["z"].astype(np.float32), arrays["hit"].astype(np.float32)
    if z.shape != shape or hit.shape != shape:
        raise DepthError(f"{path}: z {z.shape} and hit {hit.shape}, expected {shape} (views, height, width)")
    if not np.isfinite(z).all() or not np.isfinite(hit).all():
        raise DepthError(f"{path}: holds NaN or infinite values; write 0 where nothing was hit")
    notes = unpack_notes(arrays, path, DepthError)
    return np.where(hit > 0, z, 0).astype(np.float32), hit.clip(0, 1), notes


def _grid(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    sdf = arrays["sdf"].astype(np.float32)
    if sdf.ndim != 3 or len(set(sdf.shape)) != 1 or not 8 <= sdf.shape[0] <= 512 or not np.isfinite(sdf).all():
        raise SurfaceError(f"{path}: sdf must be a finite cube of 8 to 512 nodes a side, found shape {sdf.shape}")
    return sdf


def _pair(numbers: Any) -> tuple[float, float]:
    first, second = numbers
    return float(first), float(second)
