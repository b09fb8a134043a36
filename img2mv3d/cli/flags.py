"""The flags that commands share, and how a function becomes a command.

In: `plans`, for the defaults that the help shows. Out: `FLAGS`, `command`, `typed_in`. Flags of the stages are the
fields of the stages' options: a field, its flag, its range, its help and its panel stand in one line.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from img2mv3d.cli.help import Command, Group
from img2mv3d.mesh.formats import FORMATS, those
from img2mv3d.plans import ATTENTIONS, DECODERS, PLANS, REMOVERS, RESOLUTIONS, STANDARD

# of every group
TEXT: dict[str, Any] = {
    "cls": Group,
    "no_args_is_help": True,
    "rich_markup_mode": "rich",
    "add_completion": False,
}
LAYOUTS = ("wonder3d", "era3d", "syncdreamer", "zero123plus", "zero123plus-1.2")  # of third-party views
SOLVERS = ("ddim", "dpmpp", "dpmpp1")

# Panels of the list of commands.
PHOTO_TO_MESH, STAGE_BY_STAGE, LOOKING = "Photo to mesh", "Stage by stage", "Look and check"
INSTALLATION, LEARNING = "Installation and weights", "Train and measure"

# Panels of a help page, in the order in which people think about a run.
RUN, PHOTO, BODY, VIEWS, COARSE = "Run", "Photo", "Body", "Six views", "Coarse surface"
DECODING, SURFACE, MESH, MACHINE, OUTPUT = "Decoding", "Final surface", "Mesh file", "Weights and machine", "Output"


@dataclass(frozen=True)
class Flag:
    """One flag.

    type: of its value.
    decls: as typed.
    help: one sentence.
    panel: of the help page.
    home: "stage.field" or "field" in Plan, or "" for a flag of the command itself.
    choices: the only values allowed.
    low, high: the smallest and largest number allowed.
    parse: from what is typed to the field's value; metavar: what that looks like.
    otherwise: what the help says instead of a default of None.
    """

    type: Any
    decls: tuple[str, ...]
    help: str
    panel: str
    home: str = ""
    choices: tuple[str, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    parse: Callable[[str], Any] | None = None
    metavar: str | None = None
    otherwise: str = "set by the weights"

    @property
    def default(self) -> Any:
        """What the standard plan has; None for a flag that is no field of it."""
        value: Any = STANDARD
        for name in self.home.split(".") if self.home else ():
            value = getattr(value, name)
        return value if self.home else None

    @functools.cached_property
    def annotation(self) -> Any:
        """What typer is told: None stands for a flag that was not typed."""
        kind = Literal[*self.choices] if self.choices else self.type
        more = {"min": self.low, "max": self.high, "parser": self.parse, "metavar": self.metavar}
        given = {name: value for name, value in more.items() if value is not None}
        return Annotated[kind | None, typer.Option(*self.decls, help=self.text, rich_help_panel=self.panel, **given)]

    @property
    def text(self) -> str:
        """The help, with what is taken when it is not typed, as rich markup."""
        words = self.help
        if self.choices and self.metavar:  # too many to stand where the type stands
            words = f"{words.rstrip('.')}: {', '.join(self.choices)}."
        if not self.home or self.default is False:
            return words
        return rf"{words} \[default: {self.otherwise if self.default is None else self.default}]"


BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "in": 25.4}
SIZE_MM = (1.0, 100_000.0)
RADIUS = (0.001, 2.0)  # world units
FOR_RESEARCH = ("attention", "samples", "radius")  # flags of `decode` alone


def parse_resolution(text: str) -> int:
    """One of RESOLUTIONS. Raises ValueError.

    >>> parse_resolution("512")
    512
    """
    if text not in map(str, RESOLUTIONS):
        raise ValueError(f"{text}: expected {' or '.join(map(str, RESOLUTIONS))}")
    return int(text)


def parse_radius(text: str) -> float | str:
    """World units, or "auto". Raises ValueError.

    >>> parse_radius("0.2"), parse_radius("auto")
    (0.2, 'auto')
    """
    if text == "auto":
        return text
    try:
        radius = float(text)
    except ValueError:
        radius = 0.0
    if not RADIUS[0] <= radius <= RADIUS[1]:
        raise ValueError(f"{text}: expected auto, or a number from {RADIUS[0]:g} to {RADIUS[1]:g} (world units)")
    return radius


def parse_length(text: str) -> float:
    """Millimetres out of a length with its unit. Raises ValueError.

    >>> parse_length("80mm"), parse_length("8 cm"), parse_length("2in")
    (80.0, 80.0, 50.8)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(mm|cm|m|in)\s*", text.lower())
    if found is None:
        raise ValueError(f"{text}: expected a length with its unit, such as 80mm, 8cm, 0.1m or 3in")
    length = float(found.group(1)) * MM[found.group(2)]
    if not SIZE_MM[0] <= length <= SIZE_MM[1]:
        raise ValueError(f"{text}: expected 1mm to 100m")
    return length


def parse_box(text: str) -> tuple[float, float, float]:
    """Width, height, depth in millimetres. Raises ValueError.

    >>> parse_box("120, 95,80.5")
    (120.0, 95.0, 80.5)
    """
    try:
        wide, high, deep = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text}: expected width, height and depth in mm, such as 120,95,80") from None
    if not all(SIZE_MM[0] <= side <= SIZE_MM[1] for side in (wide, high, deep)):
        raise ValueError(f"{text}: expected three lengths of 1 to 100000 mm")
    return wide, high, deep


def parse_remover(text: str) -> str:
    """A name of REMOVERS, or the absolute path of an .onnx file. Raises ValueError."""
    if text in REMOVERS:
        return text
    if not text.endswith(".onnx"):
        raise ValueError(f"{text}: expected one of {', '.join(REMOVERS)}, or an .onnx file")
    return str(Path(text).absolute())


def parse_bytes(text: str) -> int:
    """Bytes out of "500M", "8G", "0". Raises ValueError.

    >>> parse_bytes("1.5 GB")
    1500000000
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if found is None:
        raise ValueError(f"{text}: expected a size such as 500M or 8G")
    return int(float(found.group(1)) * BYTES[found.group(2)])


def _number(kind: type, decl: str, help: str, panel: str, home: str, low: float | int, high: float | int) -> Flag:
    return Flag(kind, (decl,), help, panel, home, low=low, high=high, metavar="N" if kind is int else "X")


FLAGS = {
    # of a run
    "out": Flag(Path, ("-o", "--out"), "Folder for the results.", RUN),
    "quality": Flag(str, ("--quality",), "Preset for the options of all stages.", RUN, choices=tuple(PLANS)),
    "seed": Flag(
        int,
        ("--seed",),
        "Seed of the random numbers; another one guesses depth and hidden sides anew.",
        RUN,
        "seed",
        low=0,
        metavar="N",
    ),
    "mask": Flag(Path, ("--mask",), "Mask of the object: white on it, black elsewhere.", PHOTO),
    "back": Flag(Path, ("--back",), "Your own photo of the back. It gives colours, not shape.", PHOTO),
    "left": Flag(Path, ("--left",), "Your own photo of what is left in the photo, after a quarter turn.", PHOTO),
    "right": Flag(Path, ("--right",), "The same of what is right. They give colours, outlines and depth.", PHOTO),
    "views": Flag(
        Path,
        ("--views",),
        "Folder of your own photos of other sides, named by azimuth: 45.jpg, -90.jpg, or right.jpg.",
        PHOTO,
        metavar="DIR",
    ),
    # fields of the options of the stages
    "remover": Flag(
        str,
        ("--remover",),
        f"How the object is cut out: {', '.join(REMOVERS)}, or an .onnx file.",
        PHOTO,
        "prepare.remover",
        parse=parse_remover,
        metavar="HOW",
    ),
    "framing_px": _number(
        int,
        "--framing-px",
        "Foreground size: long side of the object in a picture of 256 px.",
        PHOTO,
        "prepare.framing_px",
        16,
        250,
    ),
    "depth_ratio": Flag(
        float,
        ("--depth-ratio",),
        "Depth of the object divided by the long side of its outline in the photo, such as 0.4.",
        BODY,
        "shape.depth_ratio",
        low=0.05,
        high=2.0,
        metavar="X",
        otherwise="the most likely one",
    ),
    "box": Flag(
        str,
        ("--size-mm",),
        "Width, height and depth of the object in mm: 120,95,80. Gives the depth, and the mesh its true size.",
        BODY,
        "shape.box_mm",
        parse=parse_box,
        metavar="W,H,D",
        otherwise="not known",
    ),
    "facing": Flag(
        float,
        ("--facing",),
        "Where the object's front points, in degrees: 0 to the camera, 90 to the photo's right, -90 to its left.",
        BODY,
        "shape.facing_deg",
        low=-180.0,
        high=180.0,
        metavar="DEG",
        otherwise="predicted",
    ),
    "steps": _number(int, "--steps", "Steps of the diffusion solver.", VIEWS, "generate.steps", 1, 1000),
    "guidance": _number(
        float, "--guidance", "Classifier-free guidance scale; 1 turns it off.", VIEWS, "generate.guidance", 0, 50
    ),
    "solver": Flag(str, ("--solver",), "Diffusion solver.", VIEWS, "generate.solver", SOLVERS),
    "eta": _number(float, "--eta", "Noise that DDIM adds.", VIEWS, "generate.eta", 0, 1),
    "depth_grid": _number(
        int, "--depth-grid", "Grid resolution of the coarse NeuS fit.", COARSE, "depth.grid", 32, 256
    ),
    "depth_effort": _number(
        float, "--depth-effort", "Multiplies the steps of the coarse NeuS fit.", COARSE, "depth.effort", 0.01, 100
    ),
    "revolution_prior": _number(
        float,
        "--revolution-prior",
        "Weight of the revolution prior, which makes side outlines rounder.",
        COARSE,
        "depth.revolution_prior",
        0,
        1,
    ),
    "decoder": Flag(
        str, ("--decoder",), "Decoder of the colours.", DECODING, "decode.decoder", DECODERS, metavar="NAME"
    ),
    "decode_normals": Flag(
        bool, ("--decode-normals",), "Decode the normals with it as well.", DECODING, "decode.decode_normals"
    ),
    "passes": _number(
        int,
        "--passes",
        "How often the views are decoded: each time but the first by the final fit to those before.",
        DECODING,
        "decode.passes",
        1,
        4,
    ),
    "resolution": Flag(
        int,
        ("--resolution",),
        "Size of the views in px.",
        DECODING,
        "decode.resolution",
        parse=parse_resolution,
        metavar="|".join(map(str, RESOLUTIONS)),
    ),
    "attention": Flag(
        str, ("--attention",), "How the decoder looks into other views.", DECODING, "decode.attention", ATTENTIONS
    ),
    "samples": _number(int, "--samples", "Samples on each ray, in every up-block.", DECODING, "decode.samples", 1, 64),
    "radius": Flag(
        Any,
        ("--radius",),
        "Half the length of the piece of a ray that is looked along, world units; auto: by the depth's confidence.",
        DECODING,
        "decode.radius",
        parse=parse_radius,
        metavar="R|auto",
    ),
    "grid": _number(int, "--grid", "Grid resolution of the final NeuS fit.", SURFACE, "reconstruct.grid", 32, 512),
    "effort": _number(
        float, "--effort", "Multiplies the steps of the final NeuS fit.", SURFACE, "reconstruct.effort", 0.01, 100
    ),
    "format": Flag(
        str, ("--format",), "File format of the mesh.", MESH, "export.format", tuple(FORMATS), metavar="NAME"
    ),
    "faces": _number(int, "--faces", "Maximum number of triangles.", MESH, "export.faces", 100, 2_000_000),
    "texture_size": _number(
        int,
        "--texture-size",
        "Texture size in px; 0 stores colours at the vertices.",
        MESH,
        "export.texture_size",
        0,
        8192,
    ),
    "elevation": Flag(
        float,
        ("--elevation",),
        "Elevation of the camera in degrees, by which the mesh is turned upright; 0 leaves it as the photo shows it.",
        MESH,
        "export.elevation_deg",
        low=-89,
        high=89,
        metavar="X",
        otherwise="predicted from the photo, where the prediction is sure",
    ),
    "up": Flag(
        str,
        ("--up",),
        "Axis of the file that points up.",
        MESH,
        "export.up",
        ("y", "z"),
        otherwise=f"z in {those(lambda f: f.up == 'Z')}, y elsewhere, as their readers expect",
    ),
    "size": Flag(
        float,
        ("--size",),
        "Longest side of the mesh in the file: 80mm, 8cm, 0.1m, 3in.",
        MESH,
        "export.size_mm",
        parse=parse_length,
        metavar="LENGTH",
        otherwise=f"100mm in {those(lambda f: f.default_mm)}; "
        f"about 1m, the world's own unit, in {those(lambda f: not f.default_mm)}",
    ),
    "height": Flag(
        float,
        ("--height",),
        "Height of the mesh in the file, instead of --size.",
        MESH,
        "export.height_mm",
        parse=parse_length,
        metavar="LENGTH",
        otherwise="set by --size",
    ),
    "roughness": _number(
        float, "--roughness", "Roughness of the surface: 0 is a mirror, 1 is chalk.", MESH, "export.roughness", 0, 1
    ),
    "metallic": _number(float, "--metallic", "1 for bare metal, 0 for the rest.", MESH, "export.metallic", 0, 1),
    "normal_map": Flag(
        bool,
        ("--normal-map",),
        "Add a normal map with the small relief of the photo's side.",
        MESH,
        "export.normal_map",
    ),
    "lod": _number(
        int,
        "--lod",
        "Levels of detail: 3 adds mesh_lod1 and mesh_lod2, each with half the triangles of the one before.",
        MESH,
        "export.lod",
        1,
        6,
    ),
    # fields of the plan itself
    "bundle": Flag(str, ("--bundle",), "Name or folder of the weights.", MACHINE, "bundle"),
    "device": Flag(str, ("--device",), "Device: auto, cpu or cuda.", MACHINE, "device"),
    "vram": Flag(
        int,
        ("--vram",),
        "Limit for the GPU memory, such as 8G.",
        MACHINE,
        "vram",
        parse=parse_bytes,
        metavar="BYTES",
        otherwise="all of it",
    ),
    # of the commands
    "cache": Flag(Path, ("--cache",), "Cache folder (IMG2MV3D_CACHE, else the system's cache folder).", MACHINE),
    "no_cache": Flag(bool, ("--no-cache",), "Neither read nor write the cache.", MACHINE),
    "store": Flag(
        str,
        ("--store",),
        "Store that machines share, behind the cache: s3://bucket/prefix or file:///folder.",
        MACHINE,
        metavar="URL",
    ),
    "quiet": Flag(bool, ("-q", "--quiet"), "Print only warnings and the result's path.", OUTPUT),
    "json": Flag(bool, ("--json",), "Print one line of JSON instead of the result's path.", OUTPUT),
    "debug": Flag(bool, ("--debug",), "Show the traceback of an error.", OUTPUT),
}


def flags_of(*stages: str) -> tuple[str, ...]:
    """The flags that are fields of the options of these stages, in the order of FLAGS."""
    return tuple(name for name, flag in FLAGS.items() if flag.home.rpartition(".")[0] in stages)


ONE_PHOTO = ("mask", "back", "left", "right", "views")  # flags that go with a single photo


def of_a_run(*names: str) -> tuple[str, ...]:
    """The flags of every command that runs stages, with `names` among them."""
    last = ("bundle", "device", "vram", "cache", "no_cache", "store", "quiet", "json", "debug")
    return ("out", "quality", "seed", *names, *last)


def command(
    app: typer.Typer, *flags: str, name: str | None = None, group: str | None = None
) -> Callable[[Callable[..., None]], Any]:
    """Register a function as a command of `app` that has the shared flags `flags`, too. It gets them as keywords, None
    where they were not typed. Its docstring is the help: paragraphs flow, what follows a line of \\b stays as it is.

    group: title of the panel in which the list of commands has it.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        words = flowing(function.__doc__ or "")
        texts = {"help": words, "short_help": first_sentence(words)}
        app.command(name, cls=Command, rich_help_panel=group, **texts)(_with_flags(function, flags))
        return function

    return register


def typed_in(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were typed."""
    return {name: value for name, value in flags.items() if value is not None and value is not False}


def flowing(words: str) -> str:
    """A docstring as rich markup, one line a paragraph; brackets are no markup.

    >>> flowing("Turn a photo\\n    into a mesh.\\n\\n    \\b\\n    run a.png [b.png]")
    'Turn a photo into a mesh.\\n\\nrun a.png \\\\[b.png]'
    """
    paragraphs = inspect.cleandoc(words).replace("[", r"\[").split("\n\n")
    return "\n\n".join(p[2:] if p.startswith("\b\n") else p.replace("\n", " ") for p in paragraphs)


def first_sentence(words: str) -> str:
    """What a list of commands says about one.

    >>> first_sentence("Make a mesh: mesh.glb. Without a folder: here.\\n\\nMore.")
    'Make a mesh: mesh.glb.'
    """
    return words.split("\n\n")[0].split(". ")[0].rstrip(".") + "."


def _with_flags(function: Callable[..., None], names: tuple[str, ...]) -> Callable[..., None]:
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    own = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [inspect.Parameter(name, keyword, default=None, annotation=FLAGS[name].annotation) for name in names]

    @functools.wraps(function)
    def call(**given: Any) -> None:
        function(**given)

    del call.__wrapped__  # else inspect would look through to the function without flags
    call.__signature__ = inspect.Signature([*own, *added])
    call.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
    return call
