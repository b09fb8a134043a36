"""Small stand-ins for the six stages: numpy only, a millisecond each, every output depends on every input."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from img2mv3d.files.contents import write_json
from img2mv3d.flow.context import StageContext
from img2mv3d.flow.graph import GRAPH
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.values import BackSubject, Body, Depth, Latents, Sides, Subject, Surface, Views

SIDE = 32


def numbers(*parts: Any) -> np.random.Generator:
    """Random numbers that depend on the content of `parts` alone."""
    seen = hashlib.sha256()
    for part in parts:
        seen.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return np.random.default_rng(np.frombuffer(seen.digest(), np.uint32))


@dataclass
class FakeMesh:
    format: str
    data: bytes
    warnings: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        (folder / f"mesh.{self.format}").write_bytes(self.data)
        write_json(folder / "mesh.json", {"bytes": len(self.data)})


@dataclass
class FakeBundle:
    name: str = "fake"
    digest: str = "0" * 64
    framing_px: int = 144
    licence: str = "CC0-1.0"
    manifest: dict[str, Any] = field(default_factory=dict)
    has: tuple[str, ...] = ("unet",)

    def parts(self) -> tuple[str, ...]:
        return self.has


@dataclass
class FakeRunners:
    """`runners` for pipeline.run; `calls` counts what was computed."""

    calls: Counter = field(default_factory=Counter)

    def table(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in GRAPH}

    def prepare(self, context: StageContext, photo: Path, mask: Path | None, matting: Any) -> Subject:
        self.calls["prepare"] += 1
        rng = numbers(photo.read_bytes(), mask.read_bytes() if mask else None, context.options)
        image = np.broadcast_to(rng.integers(0, 256, 4, np.uint8), (256, 256, 4)).copy()
        return Subject(
            image,
            image[:64, :64].copy(),
            Framing((1.0, 1.0), (0.0, 0.0), context.options.framing_px),
            "alpha",
            ("cut",),
        )

    def back(self, context: StageContext, photo: Path, subject: Subject, matting: Any) -> BackSubject:
        self.calls["back"] += 1
        color = numbers(photo.read_bytes(), subject.image).integers(0, 256, 4, np.uint8)
        image = np.broadcast_to(color, (256, 256, 4)).copy()
        return BackSubject(image, image[:64, :64].copy(), subject.framing, "alpha", ("behind",))

    def sides(self, context: StageContext, photos: Mapping[float, Path], subject: Subject, matting: Any) -> Sides:
        self.calls["sides"] += 1
        parts = {}
        for azimuth, photo in photos.items():
            color = numbers(photo.read_bytes(), azimuth).integers(0, 256, 4, np.uint8)
            image = np.broadcast_to(color, (256, 256, 4)).copy()
            parts[azimuth] = Subject(image, image[:64, :64].copy(), subject.framing, "alpha", ("beside",))
        return Sides(parts)

    def shape(self, context: StageContext, subject: Subject, sides: Sides | None = None) -> Body:
        self.calls["shape"] += 1
        seen = [] if sides is None else [part.image for part in sides.parts.values()]
        rng = numbers(subject.image, context.options, *seen)
        field_ = rng.random((8, 8, 8), np.float32)
        maps = rng.random((4, 4, 3), np.float32)
        return Body(field_, maps, maps, context.options.depth_ratio or 0.5, maps[0, :, :2], 10.0, 3.0)

    def generate(self, context: StageContext, subject: Subject, body: Body | None) -> Latents:
        self.calls["generate"] += 1
        rng = numbers(subject.image, context.seed, context.options, None if body is None else body.field)
        context.progress(1, 2)
        color = rng.standard_normal((6, 4, 4, 4), np.float32)
        front = subject.image[:SIDE, :SIDE]
        return Latents(color, color + 1, front, SIX_VIEWS, 144, {"name": "sd"}, "fake", context.seed, {})

    def encode(self, context: StageContext, pictures: Views) -> Latents:
        self.calls["encode"] += 1
        color = numbers(pictures.color).standard_normal((6, 4, 4, 4), np.float32)
        front = np.zeros((SIDE, SIDE, 4), np.uint8)
        return Latents(color, None, front, pictures.rig, 144, {"name": "sd"}, "fake", 0, {})

    def depth(self, context: StageContext, latents: Latents, body: Body | None, given: Any) -> Depth:
        self.calls["depth"] += 1
        rng = numbers(latents.color, context.options, given, None if body is None else body.field)
        views = self._views(rng)
        z = rng.random(views.mask.shape, np.float32)
        coarse = None if given == "none" else rng.random((8, 8, 8), np.float32)
        return Depth(z, views.mask, views, coarse, "none" if given == "none" else "neus", ("hull",))

    def decode(
        self,
        context: StageContext,
        latents: Latents,
        depth: Depth,
        back: BackSubject | None,
        body: Body | None = None,
        subject: Subject | None = None,
    ) -> Views:
        self.calls["decode"] += 1
        behind = None if back is None else back.image
        return self._views(numbers(latents.color, depth.z, depth.plain.color, context.options, behind))

    def reconstruct(self, context: StageContext, views: Views, body: Body | None = None) -> Surface:
        self.calls["reconstruct"] += 1
        held = None if body is None else body.field
        return Surface(numbers(views.color, context.options, held).random((8, 8, 8), np.float32))

    def export(
        self,
        context: StageContext,
        surface: Surface,
        views: Views,
        subject: Subject | None,
        back: BackSubject | None,
        body: Body | None,
        sides: Sides | None,
        provenance: dict[str, Any],
    ) -> FakeMesh:
        self.calls["export"] += 1
        told = json.dumps(
            [body and body.pitch_deg, views.origin, subject is not None, repr(context.options), provenance],
            sort_keys=True,
        )
        picture = None if subject is None else subject.full
        return FakeMesh(context.options.format, numbers(surface.sdf, views.color, told, picture).bytes(500))

    def _views(self, rng: np.random.Generator) -> Views:
        mask = np.zeros((6, SIDE, SIDE), np.float32)
        mask[:, 8:24, 8:24] = 1
        normal = np.zeros((6, SIDE, SIDE, 3), np.float32)
        normal[:, 8:24, 8:24, 2] = 1
        return Views(rng.random((6, SIDE, SIDE, 3), np.float32), normal, mask, SIX_VIEWS, "fake")
