"""What a runner is called with besides the values of its inputs: options, device, networks, random numbers.

In: what a run knows of one stage. Out: `StageContext`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from img2mv3d.files.durable import digest_of

if TYPE_CHECKING:
    import torch


def _ignore(*words: object) -> None:
    return None


@dataclass(frozen=True)
class StageContext:
    """One stage of one run.

    stage: its name.
    options: its own options, None where it has none.
    device: "cpu" or "cuda".
    networks: what makes its networks: the bundle, or for decode the chosen decoder; None where it has none.
    seed: of the run.
    vram: bytes of a card's memory that may be used, None: all.
    last: whether the run ends with this stage.
    progress: called with (done, total) steps.
    note: called with one sentence that a person may want to know now.
    """

    stage: str
    options: Any = None
    device: str = "cpu"
    networks: Any = None
    seed: int = 0
    vram: int | None = None
    last: bool = True
    progress: Callable[[int, int], None] = _ignore
    note: Callable[[str], None] = _ignore

    def generator(self) -> torch.Generator:
        """The stage's own random numbers, on the CPU, from their beginning: cached and fresh runs agree."""
        import torch

        return torch.Generator().manual_seed(seed_of(self.stage, self.seed))


def seed_of(stage: str, seed: int) -> int:
    """The seed (63 bits) of a stage's own random numbers in a run with this seed."""
    return int(digest_of([seed, stage])[:16], 16) >> 1
