"""The process group of a training: each process draws its own batches, all take the mean of their gradients."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class ProcessGroup:
    """rank: 0..size-1, this process's number. Alone (size 1) nothing is sent anywhere."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and tells how it goes."""
        return self.rank == 0

    def agree(self, number: float) -> float:
        """The first process's number, in all of them."""
        if self.size == 1:
            return number
        agreed = torch.tensor([number], dtype=torch.float64)
        dist.broadcast(agreed, 0)
        return float(agreed)

    def any(self, flag: bool) -> bool:
        """Whether it is so in any of them."""
        if self.size == 1:
            return flag
        agreed = torch.tensor([float(flag)])
        dist.all_reduce(agreed, dist.ReduceOp.MAX)
        return bool(agreed)

    def share(self, net: nn.Module) -> None:
        """Give all of them the first one's values."""
        if self.size > 1:
            for tensor in net.state_dict().values():
                dist.broadcast(tensor, 0)

    def mean_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the group. A parameter that has one in any process has one in all
        (counting as 0 where there was none)."""
        if self.size == 1:
            return
        every = list(parameters)
        has = torch.tensor([float(p.grad is not None) for p in every])
        dist.all_reduce(has, dist.ReduceOp.MAX)
        used = [p for p, flag in zip(every, has.tolist(), strict=True) if flag]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in used])
        dist.all_reduce(flat)
        for parameter, part in zip(used, (flat / self.size).split([p.numel() for p in used]), strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensor of every process, in the order of ranks; in all of them."""
        if self.size == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(found, tensor)
        return found


def joined() -> ProcessGroup:
    """The group that this process was started in; it is entered at the first call."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ProcessGroup()
    if not dist.is_initialized():
        # with cards, gradients go from card to card; flags and random numbers by the processor
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


def left() -> None:
    """Leave the group, once everybody is done."""
    if dist.is_available() and dist.is_initialized():
        joined().any(False)  # waits for all, by the processor: there may be fewer cards than processes
        dist.destroy_process_group()
