"""The straight way adds nothing at first, and can then copy the photo or its mirror image, view by view."""

import torch

from img2mv3d.nets.direct import Direct


def test_it_starts_at_nothing():
    direct = Direct(4, 4, 8)
    assert not direct(torch.randn(12, 4, 6, 6), torch.randn(12, 8)).any()


def test_it_can_copy_the_photo_to_the_front_and_its_mirror_image_to_the_back():
    direct = Direct(4, 4, 2)
    with torch.no_grad():
        mix = direct.mix.weight.view(4, 9, 2)
        for channel in range(4):
            mix[channel, channel, 0] = mix[channel, 4 + channel, 1] = 1
    told = torch.randn(1, 4, 6, 6).expand(2, -1, -1, -1)
    open_, shut = 30.0, -30.0  # silu leaves the one as it is and makes the other 0
    made = direct(told, torch.tensor([[open_, shut], [shut, open_]])) / open_
    assert torch.allclose(made[0], told[0], atol=1e-5) and torch.allclose(made[1], told[1].flip(-1), atol=1e-5)
