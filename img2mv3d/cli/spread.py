"""Rendering and measuring on an engine: its workers do the parts, then the command runs as ever and finds them.

In: what the command was told. Out: files where a single machine's run would have put them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from img2mv3d.cli.flags import OUTPUT
from img2mv3d.cli.lines import say

if TYPE_CHECKING:
    from img2mv3d.serve import workers

RENDERING, MEASURING = 2 << 30, 4 << 30  # bytes that a worker needs, as measured, with room
CHUNK = 8  # sets in a task: one takes about a second

Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="local|ray[://HOST:PORT]|slurm", help="Engine that does the work.", rich_help_panel=OUTPUT
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        metavar="N",
        help="Parts at a time on the engine.",
        show_default="as many as fit",
        rich_help_panel=OUTPUT,
    ),
]


@dataclass(frozen=True)
class Rendering:
    """Sets of renders. The task is a list of names."""

    meshes: Path
    out: Path
    seed: int

    def warm(self) -> None:
        """Import what renders."""
        from img2mv3d.data import renders  # noqa: F401

    def do(self, task: list[str], tell: workers.Tell) -> workers.Outcome:
        """Sets that exist are kept; objects that cannot be rendered are told by the command itself, later."""
        from img2mv3d.data.renders import render_set
        from img2mv3d.errors import InputError, NothingFoundError
        from img2mv3d.serve.workers import Outcome

        for name in task:
            tell("set", {"name": name})
            try:
                render_set(self.meshes, self.out, name, self.seed)
            except (InputError, NothingFoundError):
                continue
        return Outcome(True)


@dataclass(frozen=True)
class Measuring:
    """Rows of a table. The task is the number of an object, from 0. what: "views" or "mesh"."""

    what: str
    meshes: Path
    out: Path
    bundle: str
    given: tuple[str, ...]
    count: int

    def warm(self) -> None:
        """Import what measures."""
        from img2mv3d.cli.learning import ready_torch

        ready_torch()

    def do(self, task: int, tell: workers.Tell) -> workers.Outcome:
        """The rows of one object, in a file of its own."""
        from img2mv3d.eval.comparison import run
        from img2mv3d.eval.of_photos import planned
        from img2mv3d.serve.workers import Outcome

        methods, cases, metrics, _ = planned(self.what, self.meshes, self.bundle, list(self.given), self.count)
        chosen = [case for number, case in enumerate(cases) if number == task]
        run(methods, chosen, metrics, self.part(task), lambda line: tell("line", {"line": line}))
        return Outcome(True)

    def part(self, number: int) -> Path:
        """Where the rows of an object stand."""
        return self.out.with_name(f"{self.out.name}-parts") / f"{number}.tsv"


def spread(where: str, work: Any, tasks: Sequence[Any], memory: int, seats: int | None, place: Path) -> None:
    """Do all tasks; one that fails for good is told, and is left to the command. Raises UsageError."""
    from img2mv3d.cluster.engine import Need
    from img2mv3d.cluster.policy import drive
    from img2mv3d.cluster.start import open_engine, threads_for

    engine = open_engine(where, work, Need(threads_for(where, seats), memory), seats, place.absolute())
    for done, (number, outcome) in enumerate(drive(engine, tasks, memory), start=1):
        say(f"[{done}/{len(tasks)}] part {number}" + ("" if outcome.ok else f": failed: {outcome.reason}"))


def chunks(names: Sequence[str]) -> list[list[str]]:
    """Tasks of CHUNK names.

    >>> [len(part) for part in chunks(["a"] * 20)]
    [8, 8, 4]
    """
    return [list(names[i : i + CHUNK]) for i in range(0, len(names), CHUNK)]
