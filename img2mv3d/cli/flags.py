"""The flags that commands share. Those of the stages are the fields of the stages' options, one flag each.

In: `plans`, for the defaults that the help shows. Out: `FLAGS`, `with_flags`, `checked`. Why here: a field, its flag,
its range and its help stand in one line, and no command lists them again.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from img2mv3d.errors import UsageError
from img2mv3d.plans import DECODERS, PLANS, STANDARD

TEXT: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None, "add_completion": False}  # of every group
REMOVERS = ("auto", "alpha", "plain", "u2netp", "grabcut")
FORMATS = ("glb", "obj", "ply", "stl", "3mf", "usdz")
SOLVERS = ("ddim", "dpmpp", "dpmpp1")


@dataclass(frozen=True)
class Flag:
    """One flag. decls: as typed. home: "stage.field" in Plan, or "" for a flag of the command itself. choices: the only
    values allowed. low, high: the smallest and largest number allowed. parse: from what is typed to the field's value.
    otherwise: what the help says instead of a default of None.
    """

    type: Any
    decls: tuple[str, ...]
    help: str
    home: str = ""
    choices: tuple[str, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    parse: Callable[[str], Any] | None = None
    otherwise: str = "as the weights say"

    @property
    def default(self) -> Any:
        """What the standard plan has; None for a flag that is no field of it."""
        value: Any = STANDARD
        for name in self.home.split(".") if self.home else ():
            value = getattr(value, name)
        return value if self.home else None

    @property
    def text(self) -> str:
        """The line of help: what it is, which values it takes, what it is otherwise."""
        parts = [self.help]
        if self.choices:
            parts.append(f"({', '.join(self.choices)})")
        if self.home and self.default is not False:
            parts.append(f"[{self.otherwise if self.default is None else self.default}]")
        return " ".join(parts)


def _number(kind: type, decl: str, help: str, home: str, low: float | int, high: float | int) -> Flag:
    return Flag(kind, (decl,), help, home, low=low, high=high)


BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "in": 25.4}
SIZE_MM = (1.0, 100_000.0)


def parse_length(text: str) -> float:
    """Millimetres out of a length with its unit. Raises UsageError.

    >>> parse_length("80mm"), parse_length("8 cm"), parse_length("2in")
    (80.0, 80.0, 50.8)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(mm|cm|m|in)\s*", text.lower())
    if found is None:
        raise UsageError(f"{text}: expected a length with its unit, such as 80mm, 8cm, 0.1m or 3in")
    length = float(found.group(1)) * MM[found.group(2)]
    if not SIZE_MM[0] <= length <= SIZE_MM[1]:
        raise UsageError(f"{text}: expected 1mm to 100m")
    return length


def parse_bytes(text: str) -> int:
    """Bytes out of "500M", "8G". Raises UsageError.

    >>> parse_bytes("1.5 GB")
    1500000000
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if found is None:
        raise UsageError(f"{text}: expected a size such as 500M or 8G")
    return int(float(found.group(1)) * BYTES[found.group(2)])


FLAGS = {
    # fields of the options of the stages
    "remover": Flag(str, ("--remover",), "How the object is cut out.", "prepare.remover", REMOVERS),
    "framing_px": _number(int, "--framing-px", "Long side of the object in px of 256.", "prepare.framing_px", 16, 250),
    "steps": _number(int, "--steps", "Steps of the diffusion solver.", "generate.steps", 1, 1000),
    "guidance": _number(float, "--guidance", "Classifier-free guidance, 1 is off.", "generate.guidance", 0, 50),
    "solver": Flag(str, ("--solver",), "Diffusion solver.", "generate.solver", SOLVERS),
    "eta": _number(float, "--eta", "Noise that DDIM adds, 0 to 1.", "generate.eta", 0, 1),
    "depth_grid": _number(int, "--depth-grid", "Nodes a side of the quick fit.", "depth.grid", 32, 256),
    "depth_effort": _number(float, "--depth-effort", "Factor on the quick fit's steps.", "depth.effort", 0.01, 100),
    "revolution_prior": _number(
        float,
        "--revolution-prior",
        "How far side outlines lean towards round ones, 0 to 1.",
        "depth.revolution_prior",
        0,
        1,
    ),
    "decoder": Flag(str, ("--decoder",), "What decodes the colours.", "decode.decoder", DECODERS),
    "decode_normals": Flag(bool, ("--decode-normals",), "Normals through it, too.", "decode.decode_normals"),
    "grid": _number(int, "--grid", "Nodes a side of the final fit.", "reconstruct.grid", 32, 512),
    "effort": _number(float, "--effort", "Factor on the final fit's steps.", "reconstruct.effort", 0.01, 100),
    "format": Flag(str, ("--format",), "File format of the mesh.", "export.format", FORMATS),
    "faces": _number(int, "--faces", "Triangles, at most.", "export.faces", 100, 2_000_000),
    "texture_size": _number(
        int,
        "--texture-size",
        "Side of the texture in px, 0 for colours at the vertices.",
        "export.texture_size",
        0,
        8192,
    ),
    "elevation": _number(
        float,
        "--elevation",
        "Degrees by which the photo looks down; the mesh is turned upright.",
        "export.elevation_deg",
        -89,
        89,
    ),
    "up": Flag(
        str,
        ("--up",),
        "The file's axis that points up.",
        "export.up",
        ("y", "z"),
        otherwise="z in stl and 3mf, y elsewhere, as their readers expect",
    ),
    "size": Flag(
        str,
        ("--size",),
        "Longest side of the mesh in the file: 80mm, 8cm, 0.1m, 3in.",
        "export.size_mm",
        parse=parse_length,
        otherwise="100mm in stl, 3mf and usdz; about 1m, the world's own unit, in glb, obj and ply",
    ),
    "height": Flag(
        str,
        ("--height",),
        "Its height instead.",
        "export.height_mm",
        parse=parse_length,
        otherwise="as --size says",
    ),
    # fields of the plan itself
    "seed": _number(int, "--seed", "Another seed, another back side.", "seed", 0, 2**63 - 1),
    "device": Flag(str, ("--device",), "auto, cpu or cuda.", "device"),
    "bundle": Flag(str, ("--bundle",), "Name or folder of the weights.", "bundle"),
    "vram": Flag(
        str,
        ("--vram",),
        "Memory of the graphics card that may be used: 8G.",
        "vram",
        parse=parse_bytes,
        otherwise="all of it",
    ),
    # of the commands
    "quality": Flag(str, ("--quality",), "Preset of all options of the stages.", choices=tuple(PLANS)),
    "out": Flag(Path, ("-o", "--out"), "Folder for the results."),
    "mask": Flag(Path, ("--mask",), "A picture that is white where the object is."),
    "back": Flag(Path, ("--back",), "Your own photo of the back: its pixels go on what a camera behind sees."),
    "cache": Flag(Path, ("--cache",), "Folder of the cache [IMG2MV3D_CACHE, else the system's place for caches]."),
    "no_cache": Flag(bool, ("--no-cache",), "Neither read nor write the cache."),
    "debug": Flag(bool, ("--debug",), "Show the trace of an error."),
    "quiet": Flag(bool, ("-q", "--quiet"), "Only warnings and the result's path."),
    "json": Flag(bool, ("--json",), "One line of JSON instead of the result's path."),
}
COMMON = ("out", "quality", "seed", "device", "vram", "bundle", "cache", "no_cache", "debug", "quiet", "json")


def flags_of(*stages: str) -> tuple[str, ...]:
    """The flags that are fields of the options of these stages, in the order of FLAGS."""
    return tuple(name for name, flag in FLAGS.items() if flag.home.partition(".")[0] in stages and "." in flag.home)


def with_flags(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags `names`; it gets them as keywords, None where they were not typed."""

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[FLAGS[name].type | None, typer.Option(*FLAGS[name].decls, help=FLAGS[name].text)],
            )
            for name in names
        ]

        @functools.wraps(command)
        def call(**given: Any) -> None:
            command(**given)

        del call.__wrapped__  # else inspect would look through to the function without flags
        call.__signature__ = inspect.Signature([*own, *added])
        call.__annotations__ = {p.name: p.annotation for p in (*own, *added)}
        return call

    return wrap


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were typed, each inside of its range. Raises UsageError that names flag, value and range."""
    given = dict(given)
    for name, value in given.items():
        flag = FLAGS.get(name)
        if flag is None or value is None:
            continue
        if flag.parse is not None:
            try:
                given[name] = flag.parse(value)
            except UsageError as error:
                raise UsageError(f"{flag.decls[-1]} {error}") from None
        if flag.choices and value not in flag.choices:
            raise UsageError(f"{flag.decls[-1]} {value}: expected one of {', '.join(flag.choices)}")
        if flag.low is not None and not flag.low <= value <= flag.high:
            raise UsageError(f"{flag.decls[-1]} {value}: expected {flag.low:g} to {flag.high:g}")
    return {name: value for name, value in given.items() if value is not None and value is not False}
