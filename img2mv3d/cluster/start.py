"""Engines by name: `local`, `ray`, `ray://HOST:PORT`, `slurm`.

In: a name as typed. Out: an `Engine` that is ready to take tasks.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from img2mv3d import machine
from img2mv3d.cluster.engine import Engine, Need
from img2mv3d.cluster.local import Local
from img2mv3d.errors import UsageError
from img2mv3d.serve.workers import Work

NEEDS = {"ray": "ray", "slurm": "submitit"}  # packages, by the engine


def check_engine(where: str) -> None:
    """Raises UsageError where there is no such engine, or its package is missing."""
    name = where.partition("://")[0]
    if name not in ("local", *NEEDS) or (where != name and (name != "ray" or not where.partition("://")[2])):
        raise UsageError(f"--cluster {where}: expected local, ray, ray://HOST:PORT or slurm")
    if name in NEEDS and find_spec(NEEDS[name]) is None:
        raise UsageError(
            f"--cluster {where} needs {NEEDS[name]}, which is not installed; pip install 'img2mv3d[cluster]'"
        )


def open_engine(where: str, work: Work, need: Need, seats: int | None, place: Path) -> Engine:
    """The engine, started. Raises UsageError where it cannot be had, or has no room for one task.

    seats: tasks at a time; None: as many as fit. place: a folder that all nodes must see.
    """
    check_engine(where)
    if where == "local":
        return Local(work, need, seats or seats_here(need))
    if where == "slurm":
        from img2mv3d.cluster.slurm import Slurm

        return Slurm(work, need, seats, place)
    from img2mv3d.cluster.on_ray import OnRay

    return OnRay(work, need, seats, place, address=where.partition("://")[2] or None)


def seats_here(need: Need) -> int:
    """How many tasks fit this machine at a time, at least 1."""
    import psutil

    return max(1, min(machine.cpu_count() // need.cpus, int(psutil.virtual_memory().available // need.memory)))


def threads_for(where: str, seats: int | None) -> int:
    """Threads of one task: OMP_NUM_THREADS where it is set; here, where --jobs is typed, its share of the processors;
    else 1, which loses nothing while there are more photos than processors."""
    if where == "local" and seats:
        return max(1, machine.thread_count() // seats)
    return machine.thread_count() if os.environ.get("OMP_NUM_THREADS") else 1
