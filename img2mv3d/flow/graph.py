"""The stages of the flow, one record each: what a stage takes and leaves, who computes it, what people are told of it.

    Photo -prepare-> Subject -shape-> Body -generate-> Latents -depth-> Depth -decode-> Views -reconstruct-> Surface
    -export-> Mesh

Not in every run: `shape`, where the bundle has a shape network; `back`, a photo of the back -> BackSubject, which
decode and export take; `encode`, pictures -> Latents, in place of generate.

Commands, cache, screen and pipeline read these records, and nothing about a stage is written down twice. Runners and
values are named by their import path, so that help and a cached run stay light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from img2mv3d.plans import (
    DecodeOptions,
    DepthOptions,
    ExportOptions,
    GenerateOptions,
    Plan,
    PrepareOptions,
    ReconstructOptions,
    ShapeOptions,
)


@dataclass(frozen=True)
class Input:
    """Something that a stage takes.

    name: of the runner's argument.
    optional: the stage can do without; then the argument is None, and the cache's key does not hold it.
    """

    name: str
    optional: bool = False


@dataclass(frozen=True)
class Stage:
    """One stage of the flow.

    name: as typed and as written in run.json.
    version: raised when equal inputs shall give another output; part of the cache's key.
    run: import path of its runner, a function of a `StageContext` and the values of the inputs.
    value: import path of the class that reads the output back; None: nothing in the flow takes it.
    files: the output under a run's folder, patterns of pathlib.
    inputs: what the runner takes.
    result: what a run that ends here points to; {format} is an option.
    doing: what a person reads meanwhile.
    memory_hint: what to type when memory does not suffice.
    options: the class of its options, of which every field is part of the cache's key.
    uses: what else the output depends on: weights (of the bundle), decoder (the weights of the chosen one), seed,
        arithmetic.
    kind: of the `Source` that its output is; called: how a person names that.
    takes: kinds of sources that its command begins with.
    variant_of: the stage in whose place it stands, or beside which, for another source.
    """

    name: str
    version: int
    run: str
    value: str | None
    files: tuple[str, ...]
    inputs: tuple[Input, ...]
    result: str
    doing: str
    memory_hint: str = ""
    options: type | None = None
    uses: tuple[str, ...] = ()
    kind: str = ""
    called: str = ""
    takes: tuple[str, ...] = ()
    variant_of: str | None = None

    @property
    def option_names(self) -> tuple[str, ...]:
        """The fields of its options."""
        return () if self.options is None else tuple(field.name for field in fields(self.options))

    def options_in(self, plan: Plan) -> Any:
        """What the plan says about it; None where it has no options."""
        if self.options is None:
            return None
        return getattr(plan, self.name if hasattr(plan, self.name) else self.variant_of or self.name)


_STAGES = (
    Stage(
        "prepare",
        version=2,
        run="img2mv3d.flow.runners:prepare",
        value="img2mv3d.values:Subject",
        files=("subject.png", "subject_full.png", "prepare.json"),
        inputs=(Input("photo"), Input("mask", optional=True), Input("matting", optional=True)),
        result="subject.png",
        doing="cutting the object out",
        options=PrepareOptions,
        kind="subject",
        called="subject.png of a run",
        takes=("photo",),
    ),
    Stage(
        "back",  # beside prepare, not inside of it: a photo of the back that comes later must not cost new views
        version=2,
        run="img2mv3d.flow.runners:back",
        value="img2mv3d.values:BackSubject",
        files=("back/subject.png", "back/subject_full.png", "back/prepare.json"),
        inputs=(Input("photo"), Input("subject"), Input("matting", optional=True)),
        result="back/subject.png",
        doing="cutting the back out",
        options=PrepareOptions,
        variant_of="prepare",
    ),
    Stage(
        "sides",
        version=1,
        run="img2mv3d.flow.runners:sides",
        value="img2mv3d.values:Sides",
        files=("sides/*/subject.png", "sides/*/subject_full.png", "sides/*/prepare.json"),
        inputs=(Input("photos"), Input("subject"), Input("matting", optional=True)),
        result="sides",
        doing="cutting the other sides out",
        options=PrepareOptions,
        variant_of="prepare",
    ),
    Stage(
        "shape",  # before generate, which can do without: a bundle without a shape network imagines views from noise
        version=10,
        run="img2mv3d.flow.runners:shape",
        value="img2mv3d.values:Body",
        files=("shape.npz",),
        inputs=(Input("subject"), Input("sides", optional=True)),
        result="shape.npz",
        doing="predicting the body",
        options=ShapeOptions,
        uses=("weights", "seed", "arithmetic"),
        variant_of="generate",
    ),
    Stage(
        "generate",
        version=6,
        run="img2mv3d.flow.runners:generate",
        value="img2mv3d.values:Latents",
        files=("latents.pt",),
        inputs=(Input("subject"), Input("body", optional=True)),
        result="latents.pt",
        doing="generating six views",
        memory_hint="use --guidance 1 (half of the memory) or --device cpu",
        options=GenerateOptions,
        uses=("weights", "seed", "arithmetic"),
        kind="latents",
        called="latents.pt",
        takes=("photo", "subject", "run"),
    ),
    Stage(
        "encode",
        version=1,
        run="img2mv3d.flow.runners:encode",
        value="img2mv3d.values:Latents",
        files=("latents.pt",),
        inputs=(Input("pictures"),),
        result="latents.pt",
        doing="encoding the pictures",
        uses=("weights", "arithmetic"),
        variant_of="generate",
    ),
    Stage(
        "depth",
        version=11,
        run="img2mv3d.flow.runners:depth",
        value="img2mv3d.values:Depth",
        files=("plain/*.png", "plain/views.json", "depth.npz", "coarse.npz"),
        inputs=(Input("latents"), Input("body", optional=True), Input("given", optional=True)),
        result="depth.npz",
        doing="fitting a coarse surface",
        memory_hint="use --depth-grid 64 or --device cpu",
        options=DepthOptions,
        uses=("weights", "arithmetic"),
        kind="depth",
        called="depth.npz",
        takes=("latents", "pictures", "run"),
    ),
    Stage(
        "decode",
        version=8,
        run="img2mv3d.flow.runners:decode",
        value="img2mv3d.values:Views",
        files=("views/*.png", "views/views.json"),
        inputs=(
            *(Input("latents"), Input("depth"), Input("back", optional=True), Input("body", optional=True)),
            Input("subject", optional=True),
        ),
        result="views",
        doing="decoding the views together",
        memory_hint="use --decoder mini or --device cpu",
        options=DecodeOptions,
        uses=("decoder", "arithmetic"),
        kind="views",
        called="a folder of views",
        takes=("latents", "depth", "pictures", "run"),
    ),
    Stage(
        "reconstruct",
        version=4,
        run="img2mv3d.flow.runners:reconstruct",
        value="img2mv3d.values:Surface",
        files=("surface.npz",),
        inputs=(Input("views"), Input("body", optional=True)),
        result="surface.npz",
        doing="fitting the final surface",
        memory_hint="use --grid 128 or --quality draft",
        options=ReconstructOptions,
        kind="surface",
        called="surface.npz",
        takes=("views", "run"),
    ),
    Stage(
        "export",
        version=12,
        run="img2mv3d.flow.runners:export",
        value=None,
        files=("mesh.json",),
        inputs=(
            *(Input("surface"), Input("views"), Input("subject", optional=True), Input("back", optional=True)),
            *(Input("body", optional=True), Input("sides", optional=True), Input("provenance")),
        ),
        result="mesh.{format}",
        doing="making the mesh",
        memory_hint="use --texture-size 512 and fewer --faces",
        options=ExportOptions,
        takes=("surface", "run"),
    ),
)
GRAPH: Mapping[str, Stage] = {stage.name: stage for stage in _STAGES}
STAGES = tuple(stage.name for stage in _STAGES if stage.variant_of is None)  # in the order of the flow
OTHER_SOURCES = {"photo": "a photo", "pictures": "a folder of views", "run": "a run's folder"}


def order_of(stage: str) -> int:
    """The stage's place among STAGES; a variant has the place of what it stands for."""
    return STAGES.index(GRAPH[stage].variant_of or stage)


def stage_of(kind: str) -> str | None:
    """The stage whose output a source of this kind is; None for a photo, pictures or a whole run."""
    return next((name for name in STAGES if GRAPH[name].kind == kind), None)


def name_of(kind: str) -> str:
    """How a person names a source of this kind."""
    stage = stage_of(kind)
    return OTHER_SOURCES[kind] if stage is None else GRAPH[stage].called


def imported(path: str) -> Any:
    """What an import path "module:name" of a record means."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
