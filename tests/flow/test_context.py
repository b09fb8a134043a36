"""What a runner is told: random numbers that depend on stage and seed alone."""

import torch

from img2mv3d.flow.context import StageContext, seed_of
from img2mv3d.flow.graph import STAGES


def test_seeds_of_stages_differ_and_repeat() -> None:
    seeds = {stage: seed_of(stage, 1) for stage in STAGES}
    assert len(set(seeds.values())) == len(STAGES) and all(0 <= seed < 2**63 for seed in seeds.values())
    assert seeds["generate"] == seed_of("generate", 1) != seed_of("generate", 2)


def test_every_generator_begins_anew() -> None:
    context = StageContext("generate", seed=3)
    first, again = (torch.randn(4, generator=context.generator()) for _ in range(2))
    assert torch.equal(first, again)
