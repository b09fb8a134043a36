"""Refinement of drafts: a denoiser that knows the answer finds it, one that says nothing new leaves the draft alone."""

import pytest
import torch

from img2mv3d.diffusion.refine import refine
from img2mv3d.diffusion.schedule import SCHEDULES, add_noise, target

SCHEDULE = SCHEDULES["mini"]


def _knowing(answer: torch.Tensor):
    """A denoiser that takes every noisy latent for `answer` with noise."""

    def denoise(noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        steps = t.expand(len(noisy))
        alpha_bar = SCHEDULE.table(noisy)[steps].reshape(-1, 1, 1, 1)
        noise = (noisy - alpha_bar.sqrt() * answer) / (1 - alpha_bar).sqrt()
        return target(SCHEDULE, answer, noise, steps)

    return denoise


@pytest.fixture
def draft() -> torch.Tensor:
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("steps", [(200,), (600, 250), (400, 300, 100)])
def test_a_denoiser_that_knows_the_answer_finds_it(draft: torch.Tensor, steps: tuple[int, ...]) -> None:
    answer, noise = draft + 1, torch.randn(draft.shape, generator=torch.Generator().manual_seed(1))
    calls: list[tuple[int, int]] = []
    found = refine(
        _knowing(answer), draft, noise, SCHEDULE, steps=steps, progress=lambda done, all_: calls.append((done, all_))
    )
    assert torch.allclose(found, answer, atol=1e-3)
    assert calls == [(i + 1, len(steps)) for i in range(len(steps))]


def test_one_that_believes_the_draft_leaves_it(draft: torch.Tensor) -> None:
    noise = torch.randn(draft.shape, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(refine(_knowing(draft), draft, noise, SCHEDULE, steps=(400, 200)), draft, atol=1e-3)


def test_the_first_call_sees_the_draft_with_just_that_noise(draft: torch.Tensor) -> None:
    noise, seen = torch.ones_like(draft), []

    def denoise(noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append((noisy, int(t)))
        return torch.zeros_like(noisy)

    refine(denoise, draft, noise, SCHEDULE, steps=(300, 100))
    assert [t for _, t in seen] == [300, 100]
    assert torch.allclose(seen[0][0], add_noise(SCHEDULE, draft, noise, torch.full((3,), 300)))


@pytest.mark.parametrize("steps", [(), (100, 200), (200, 200)])
def test_levels_must_fall(draft: torch.Tensor, steps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="falling"):
        refine(_knowing(draft), draft, draft, SCHEDULE, steps=steps)
