"""Guidance and the kinds of prediction."""

from dataclasses import replace

import pytest
import torch

from img2mv3d.diffusion.contract import Condition, as_epsilon, as_velocity, conditioned
from img2mv3d.diffusion.schedule import SCHEDULES, add_noise, target


def spy(calls):
    """A network that writes down its rows and answers with what it was told, domain and branch visible."""

    def network(noisy, t, tokens, camera):
        calls.append((noisy, tokens, camera))
        return noisy[:, :4] + 10 * noisy[:, 4:] + 100 * tokens.mean(dim=(1, 2)).reshape(-1, 1, 1, 1)

    return network


def two_domains():
    rows = torch.arange(12.0)
    condition = Condition(
        torch.full((12, 4, 2, 2), 3.0), torch.full((12, 1, 5), 7.0), torch.stack([rows, rows >= 6], dim=1).float()
    )
    return rows.reshape(-1, 1, 1, 1).expand(-1, 4, 2, 2).clone(), condition


def test_guidance_of_one_is_one_plain_call():
    calls = []
    noisy, condition = two_domains()
    out = conditioned(spy(calls), condition)(noisy, torch.tensor(5))
    assert len(calls) == 1 and calls[0][0].shape == (12, 8, 2, 2)
    assert torch.allclose(out, noisy + 30 + 700)


def test_quarters_are_normal_without_normal_with_color_without_color_with():
    calls = []
    noisy, condition = two_domains()
    conditioned(spy(calls), condition, 3.0)(noisy, torch.tensor(5))
    rows, tokens, camera = calls[0]
    normal, color = torch.arange(6.0), torch.arange(6.0, 12)
    assert torch.equal(rows[:, 0, 0, 0], torch.cat([normal, normal, color, color]))
    told = torch.tensor([0.0, 1, 0, 1]).repeat_interleave(6)
    assert torch.equal(rows[:, 4, 0, 0], told * 3)
    assert torch.equal(tokens[:, 0, 0], told * 7)
    assert torch.equal(camera[:, 1], torch.tensor([0.0, 1]).repeat_interleave(12)), "cameras are never left out"


def test_one_branch_after_the_other_says_the_same_with_half_of_the_rows():
    noisy, condition = two_domains()
    together, apart = [], []
    expected = conditioned(spy(together), condition, 3.0)(noisy, torch.tensor(5))
    out = conditioned(spy(apart), condition, 3.0, at_once=False)(noisy, torch.tensor(5))
    assert torch.allclose(out, expected)
    assert [len(rows) for rows, _, _ in together] == [24] and [len(rows) for rows, _, _ in apart] == [12, 12]
    assert apart[0][0][:, 4:].abs().max() == 0 and apart[0][1].abs().max() == 0
    assert all(torch.equal(camera, condition.camera) for _, _, camera in apart)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
def test_guidance_goes_from_untold_to_told_and_beyond(guidance):
    noisy, condition = two_domains()
    out = conditioned(spy([]), condition, guidance)(noisy, torch.tensor(5))
    assert torch.allclose(out, noisy + guidance * 730, atol=1e-3)


def test_velocity_and_noise_tell_the_same():
    velocity = replace(SCHEDULES["sd-1.x"], prediction="v_prediction")
    noise_schedule = SCHEDULES["sd-1.x"]
    clean, noise, t = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2), torch.tensor(600)
    noisy = add_noise(velocity, clean, noise, t[None])
    from_v = as_epsilon(lambda x, t: target(velocity, clean, noise, t[None]), velocity)
    from_e = as_velocity(lambda x, t: noise, noise_schedule)
    assert torch.allclose(from_v(noisy, t), noise, atol=1e-4)
    assert torch.allclose(from_e(noisy, t), target(velocity, clean, noise, t[None]), atol=1e-4)
    with pytest.raises(ValueError, match="ends without signal"):
        as_epsilon(from_e, SCHEDULES["mini"])
