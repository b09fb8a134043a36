"""What `train/test_team.py` starts in several processes: `python -m tests.process_group_tasks FOLDER`."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from img2mv3d.train.loop import LoopOptions, run_loop
from img2mv3d.train.process_group import joined, left


class Line:
    """Fit a line through random points; told numbers may come from several generators at once."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = nn.Linear(2, 1)

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        x = torch.rand(8, 2, generator=rng)
        return (self.net(x)[:, 0] - x[:, 0]).square().mean()

    def sheet(self, net: nn.Module) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)

    def held_out(self, net: nn.Module) -> dict[str, float]:
        return {"weight": float(net.weight[0, 0])}


def main(folder: Path) -> None:
    """Every process writes what it has: gradients of three parameters after the mean, and the weights of a training."""
    group = joined()
    both, mine, nobodys = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    both.grad = torch.tensor([1.0, 2.0]) * (group.rank + 1)
    if group.rank == 1:
        mine.grad = torch.ones(2)
    group.mean_gradients([both, mine, nobodys])
    grads = [None if p.grad is None else p.grad.tolist() for p in (both, mine, nobodys)]
    task, said = Line(), []
    run_loop(task, nn.Linear(2, 1), folder / "run", LoopOptions(steps=6, warmup=2), report=said.append)
    told = {"size": group.size, "grads": grads, "said": said, "weight": task.net.weight[0].tolist()}
    told |= {"agreed": group.agree(group.rank + 5.0), "any": group.any(group.rank == 1)}
    (folder / f"{group.rank}.json").write_text(json.dumps(told))
    left()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
