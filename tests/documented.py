"""What the manual's pages say one could type: their code blocks, and whether the program still understands them.

A block is fenced (```bash, ```console, ```python). A comment in the line before it says how it ends:
`<!-- long -->`: it is only parsed (training, downloads, servers); `<!-- status 3 -->`: it ends with this exit status.
"""

from __future__ import annotations

import configparser
import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from img2mv3d.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted((ROOT / "docs" / "commands").glob("*.md"))

FENCE = re.compile(r"^(?P<note><!--[^\n]*-->\n\s*)?^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.M | re.S)
SHELL = ("bash", "console")
PROGRAMS = ("img2mv3d", "python", "torchrun", "make", "pip", "pipx", "git", "cd", "curl", "cat")  # on pages
OTHERS_FLAGS = {"--nproc-per-node", "--use-deprecated", "--build-arg", "--rm", "--spec"}  # not of ours


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    kind: str
    text: str
    note: str = ""

    @property
    def long(self) -> bool:
        """Is it only parsed?"""
        return "long" in self.note

    @property
    def status(self) -> int:
        """The exit status that the page promises."""
        found = re.search(r"status (\d+)", self.note)
        return int(found.group(1)) if found else 0

    @property
    def script(self) -> str:
        """What is typed: the block itself, or the lines of a console that begin with `$`."""
        lines = re.sub(r"\\\n\s*", "", self.text).splitlines()
        return "\n".join(lines if self.kind == "bash" else [line[2:] for line in lines if line.startswith("$ ")])

    def commands(self) -> Iterator[list[str]]:
        """The words of every command of a shell block."""
        for line in self.script.splitlines():
            line = re.sub(r"\s[<>]\s*[\w./-]+", "", line)  # a file that stands for a stream
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            command: list[str] = []
            for word in [*words, ";"]:
                if set(word) <= set("();<>|&"):
                    yield from [command] if command else []
                    command = []
                elif command or not re.match(r"[A-Z_]+=", word):
                    command.append(word)


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page.name, text.count("\n", 0, m.start("kind")) + 1, m["kind"], m["text"], m["note"] or "")
        for m in FENCE.finditer(text)
    ]


def complaint(words: list[str]) -> str | None:
    """What is wrong with a command, None where it can be typed like this. Nothing is run."""
    program, rest = words[0], words[1:]
    if program not in PROGRAMS:
        return f"{program} is no program that the pages know"
    if program == "img2mv3d":
        return _parsed(rest)
    if "-m" in rest:
        module, after = rest[rest.index("-m") + 1], rest[rest.index("-m") + 2 :]
        if module == "img2mv3d":
            return _parsed(after)
        return None if _module_exists(module) else f"there is no module {module}"
    if program == "python":
        return None if (ROOT / rest[0]).is_file() else f"there is no file {rest[0]}"
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        unknown = [word for word in rest if "=" not in word and word not in targets]
        return f"the Makefile has no target {unknown[0]}" if unknown else None
    if program == "pip":
        named = {e for word in rest for part in re.findall(r"\[(.*?)\]", word) for e in part.split(",")}
        return f"setup.cfg has no extra {min(named - extras())}" if named - extras() else None
    return None


def spans_of(page: Path) -> list[str]:
    """Code inside of a page's sentences."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    prose = re.sub(r"^(?: {4}|\t).*$", "", prose, flags=re.M)
    return [span.replace("\\|", "|").replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose)]


def unknown_flags(span: str) -> list[str]:
    """Flags in a piece of code that the command named there, or without one any command, does not have."""
    words = span.removeprefix("img2mv3d ").split()
    command, known = root(), set(_flags(root()))
    named = False
    while words and words[0] in getattr(command, "commands", {}):
        command, named = command.commands[words.pop(0)], True
        known |= set(_flags(command))
    if not named:
        known = {flag for each in everything() for flag in _flags(each)} | OTHERS_FLAGS
    return [flag for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", span) if flag not in known]


def examples_in_help() -> Iterator[tuple[str, list[str]]]:
    """(command, words) of every example line in the help texts."""
    for command in everything():
        for line in (command.help or "").splitlines():
            if line.strip().startswith("img2mv3d "):
                line = line.strip().split("  ")[0]  # what follows two blanks says what it does
                yield command.name, next(Block("", 0, "bash", line).commands())


def extras() -> set[str]:
    """The extras of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return set(parser["options.extras_require"])


@cache
def root() -> Any:
    """The program's group of commands."""
    return typer.main.get_command(app)


def everything(command: Any = None) -> Iterator[Any]:
    """The group, and every command below it."""
    command = command or root()
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from everything(below)


def _parsed(words: list[str]) -> str | None:
    """Parse, without any callback: what does not exist, is missing, or has a value that is not allowed."""
    command, parent, name = root(), None, "img2mv3d"
    while True:
        context = command.context_class(command, info_name=name, parent=parent)
        try:
            values, rest, _ = command.make_parser(context).parse_args(list(words))
            if values.keys() & {"help", "show_completion", "install_completion", "version"}:
                return None  # what would answer at once
            for parameter in command.params:
                parameter.handle_parse_result(context, values, rest)
        except Exception as error:
            return error.format_message() if hasattr(error, "format_message") else str(error)
        if not hasattr(command, "commands"):
            return f"{name} does not take {rest[0]}" if rest else None
        if not rest or rest[0] not in command.commands:
            return f"{name} has no command {rest[0] if rest else '(none named)'}"
        command, parent, name, words = command.commands[rest[0]], context, rest[0], rest[1:]


def _flags(command: Any) -> list[str]:
    return ["--help", *(flag for p in command.params for flag in (*p.opts, *p.secondary_opts))]


def _module_exists(name: str) -> bool:
    if (ROOT / Path(*name.split("."))).with_suffix(".py").is_file():
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
