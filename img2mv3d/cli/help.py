"""Help pages: panels on a terminal, the same words as plain text where it is piped or nobody wants drawings.

In: what typer knows about a command. Out: text on stdout. Why here: typer draws boxes wherever it prints, and names
Python's types where people look for what to type.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from typing import Any

from typer.core import TyperCommand, TyperGroup

from img2mv3d.cli.lines import draws

WIDEST_CHOICE = 20  # columns; longer lists stand in the help's sentence
WORDS = {"str": "TEXT", "int": "N", "float": "X", "path": "PATH", "file": "PATH", "bool": ""}
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Page:
    """What the help pages of commands and of groups have in common; stands before typer's own class."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own flags, False where they are not typed. typer has None there and asks pydantic what that means, which
        costs 0.1 s before any help page."""
        return _settled(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Draw it, or write it."""
        with _told(self.get_params(ctx), ctx, formatter):
            super().format_help(ctx, formatter)


class Command(Page, TyperCommand):
    """A command with such a page."""


class Group(Page, TyperGroup):
    """A group of commands with such a page."""


def _settled(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False) and param.default is None:
            param.default = False
    return params


def plain(page: str) -> str:
    """A page of panels without its boxes and colours: each panel's title, then its lines.

    >>> print(plain("╭─ Run ────╮\\n│ --seed   │\\n╰──────────╯"))
    Run:
      --seed
    <BLANKLINE>
    """
    lines = []
    for line in COLOURS.sub("", page).splitlines():
        if line.startswith("╭"):
            line = f"{line.strip('╭─╮ ')}:"
        elif line.startswith("│"):
            line = f" {line.strip('│')}"
        elif line.startswith("╰"):
            line = ""
        lines.append(line.rstrip())
    return "\n".join(lines)


def type_word(shown: str) -> str:
    """What typer calls a type, as people know it; choices stay as they are.

    >>> [type_word(t) for t in ("<int>", "<list[path]>", "<float range>", "<bool>", "<y|z>")]
    ['N', 'PATH', 'X', '', 'y|z']
    """
    bare = re.sub(r"^list\[(.*)\]$", r"\1", shown.strip("<>")).removesuffix(" range")
    return WORDS.get(bare, bare)


def range_word(low: float | int | None, high: float | int | None) -> str:
    """What may be typed.

    >>> range_word(1, 256), range_word(0, None)
    ('1..256', '0..')
    """
    return "..".join("" if end is None else f"{end:.10g}" for end in (low, high))


@contextlib.contextmanager
def _told(parameters: list[Any], ctx: Any, formatter: Any) -> Any:
    """While typer prints a page: types in people's words, and what is drawn made plain where it must be."""
    for parameter in parameters:
        _reword(parameter, ctx)
    if draws(sys.stdout):
        yield
        return
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        yield
    formatter.write(plain(page.getvalue()))


def _reword(parameter: Any, ctx: Any) -> None:
    """Set what the page says where a parameter's type stands. Its checks go by the type and are not touched."""
    if parameter.param_type_name == "argument":
        word = type_word(parameter.display_type(ctx)) if parameter.type_descriptor.is_choice else ""
    elif parameter.min is not None or parameter.max is not None:
        word = range_word(parameter.min, parameter.max)
    else:
        word = type_word(parameter.display_type(ctx)) if parameter.metavar is None else parameter.metavar
    parameter.min = parameter.max = None
    parameter.display_type_rich = lambda ctx: word
