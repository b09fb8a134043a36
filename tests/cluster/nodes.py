"""Nodes of Ray on this machine, each with what belongs to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from img2mv3d.cluster import on_ray

ROOT = Path(__file__).parents[2]
NODE = {"num_cpus": 1, "memory": 3 << 30, "object_store_memory": 80 << 20}
ENVIRONMENT = (
    on_ray.QUIET | on_ray.HERE | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
)
TRIES = 4


def patiently(make: Callable[[], Any]) -> Any:
    """What `make` gives: on a busy machine Ray does not wait long enough for its own processes."""
    for left in reversed(range(TRIES)):
        try:
            return make()
        except Exception as error:
            if left == 0 or "timed out" not in str(error):
                raise


class Nodes:
    """A cluster: a head without a seat and two nodes. env: more variables of the node of this number. memory: bytes of
    each."""

    def __init__(self, env: Callable[[int], dict[str, str]] = lambda number: {}, memory: int = NODE["memory"]) -> None:
        from ray.cluster_utils import Cluster

        self._env, self._memory, self._count = env, memory, 0
        self.cluster = Cluster()
        self._added(num_cpus=0)
        self.live = [self.add(), self.add()]

    @property
    def address(self) -> str:
        return self.cluster.address

    def add(self) -> Any:
        self._count += 1
        return self._added(env_vars=self._env(self._count))

    def kill(self) -> None:
        """A node goes, as by a power cut."""
        self.cluster.remove_node(self.live.pop(0), False)

    def replace(self) -> None:
        """A node goes, and another one comes. In the main thread: Ray wants signals."""
        self.kill()
        self.live.append(self.add())

    def end(self) -> None:
        self.cluster.shutdown()

    def _added(self, **more: Any) -> Any:
        return patiently(lambda: self.cluster.add_node(**{**NODE, "memory": self._memory, **more}))
