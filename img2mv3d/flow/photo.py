"""A photo in Python's own objects -> a mesh in Python's own objects; nothing is written unless somebody asks.

In: a path, bytes, a PIL image or an array. Out: `Reconstruction`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d.errors import PhotoError
from img2mv3d.flow.entry import Source
from img2mv3d.flow.pipeline import Result, run
from img2mv3d.flow.progress import Report
from img2mv3d.plans import STANDARD, Plan

if TYPE_CHECKING:
    import trimesh

    from img2mv3d.values import Depth, Subject, Views


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What became of a photo.

    mesh: with its texture, +Y up, the front looks to +Z.
    subject: the object cut out; views: six, decoded together; depth: of the coarse fit.
    warnings: sentences, in the order of the stages.
    stages: name to seconds, bytes and how it was made.
    """

    mesh: trimesh.Trimesh
    subject: Subject
    views: Views
    depth: Depth
    warnings: tuple[str, ...]
    stages: dict[str, dict[str, Any]]


class Pipeline:
    """Weights that were opened once, for many photos. Calls from several threads share nothing that changes.

    bundle: name or folder of the weights. device: auto, cpu or cuda.
    """

    def __init__(self, bundle: str | Path = "mini", device: str = "auto") -> None:
        self._name, self._device = str(bundle), device

    @cached_property
    def _bundle(self) -> Any:
        from img2mv3d.bundles.weights import load_bundle

        return load_bundle(self._name)

    def __call__(
        self,
        photo: Any,
        *,
        mask: Any = None,
        back: Any = None,
        sides: Mapping[float, Any] | None = None,
        plan: Plan = STANDARD,
        out: str | Path | None = None,
        report: Report | None = None,
    ) -> Reconstruction:
        """The mesh of one photo.

        photo, mask, back: each a path, the bytes of a picture file, a PIL image, or an array uint8 [H, W], [H, W, 3]
            (RGB, not BGR) or [H, W, 4]. They are not changed.
        sides: photos of other sides likewise, by azimuth in degrees: 90 looks at what is right in the photo.
        plan: its bundle and device are those of this pipeline, its format is glb.
        out: a folder that keeps the run's files, as `img2mv3d run` does; None keeps none.
        report: told what goes on.

        Raises Img2mv3dError of every kind.
        """
        plan = replace(plan, bundle=self._name, device=self._device, export=replace(plan.export, format="glb"))
        with tempfile.TemporaryDirectory(prefix="img2mv3d-") as place:
            pictures = {
                name: file_of(picture, Path(place) / name)
                for name, picture in (("photo", photo), ("mask", mask), ("back", back))
                if picture is not None
            }
            others = tuple((a, file_of(p, Path(place) / f"side{i}")) for i, (a, p) in enumerate((sides or {}).items()))
            mask, back = pictures.get("mask"), pictures.get("back")
            source = Source("photo", pictures["photo"], mask=mask, back=back, sides=others)
            folder = Path(place) / "out" if out is None else Path(out)
            result = run(source, folder, plan, report=report, bundle=self._bundle)
            return _read(folder, result)


def reconstruct_photo(photo: Any, **more: Any) -> Reconstruction:
    """The mesh of one photo; what it takes is what `Pipeline` and its call take. For many photos keep a `Pipeline`."""
    made = {name: more.pop(name) for name in ("bundle", "device") if name in more}
    return Pipeline(**made)(photo, **more)


def file_of(picture: Any, place: Path) -> Path:
    """The file of a picture: its own, or one written to `place`. Raises PhotoError when it is no picture."""
    if isinstance(picture, str | Path):
        return Path(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        place.write_bytes(picture)
        return place
    from PIL import Image, ImageOps

    if isinstance(picture, Image.Image):
        upright = ImageOps.exif_transpose(picture)
        upright.save(place, format="PNG" if upright.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else "TIFF")
    else:
        Image.fromarray(_checked(picture)).save(place, format="PNG", compress_level=1)
    return place


def _checked(array: Any) -> Any:
    """The array, uint8 [H, W], [H, W, 3] or [H, W, 4]. Raises PhotoError."""
    import numpy as np

    found = np.asarray(array)
    if found.dtype == object or found.ndim == 0:
        raise PhotoError(f"a {type(array).__name__} is no picture; give a path, bytes, a PIL image or an array")
    if found.ndim == 1:
        raise PhotoError("an array of one dimension is no picture; give the file's bytes as bytes")
    if found.ndim == 3 and found.shape[2] not in (3, 4) and found.shape[0] in (3, 4):
        raise PhotoError(f"an array of shape {found.shape}: give height x width x channels")
    if found.ndim not in (2, 3) or (found.ndim == 3 and found.shape[2] not in (3, 4)):
        raise PhotoError(f"an array of shape {found.shape} is no picture; expected [H, W], [H, W, 3] or [H, W, 4]")
    if found.dtype != np.uint8:
        raise PhotoError(f"an array of {found.dtype} is ambiguous; give uint8, 0 to 255")
    return found


def _read(folder: Path, result: Result) -> Reconstruction:
    import trimesh

    from img2mv3d.values import Depth, Subject, Views

    mesh = trimesh.load_mesh(folder / "mesh.glb", process=False)
    values = Subject.load(folder), Views.load(folder), Depth.load(folder)
    return Reconstruction(mesh, *values, result.warnings, result.stages)
