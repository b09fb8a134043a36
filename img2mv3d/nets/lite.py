"""EfficientNet-Lite0 without its classifier, batch normalisation folded into the convolutions: features of a picture.

In: pictures in [0, 1]. Out: maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of their size. The layout is that of the published
network (Tan and Le 2019, "lite" variant: no squeeze-and-excitation, ReLU6); `train.imagenet` brings its weights.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# (channels, kernel, stride, expansion, repeats) of each group of blocks
GROUPS = (
    (16, 3, 1, 1, 1),
    (24, 3, 2, 6, 2),
    (40, 5, 2, 6, 2),
    (80, 3, 2, 6, 3),
    (112, 5, 1, 6, 3),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)
TAPS = (0, 2, 4, 10, 15)  # blocks after which the size halves
TAP_CHANNELS = (16, 24, 40, 112, 320)
MEAN, DEVIATION = 127 / 255, 128 / 255  # of what the published weights were trained on


class Lite(nn.Module):
    """Pictures -> five maps, finest first, with TAP_CHANNELS channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, stride=2)
        blocks, inputs = [], 32
        for channels, kernel, stride, expansion, repeats in GROUPS:
            for place in range(repeats):
                blocks.append(Block(inputs, channels, kernel, stride if place == 0 else 1, expansion))
                inputs = channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, pictures: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        """pictures: RGB in [0, 1], sides multiples of 32."""
        x = F.relu6(self.stem(_padded((pictures - MEAN) / DEVIATION, 3, 2)))
        maps = []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if place in TAPS:
                maps.append(x)
        return maps


class Block(nn.Module):
    """Inverted bottleneck: widen, look around in each channel, narrow; added to its input where the form allows."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = nn.Conv2d(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(wide, wide, kernel, stride=stride, groups=wide)
        self.project = nn.Conv2d(wide, outputs, 1)
        self.kernel, self.stride, self.skip = kernel, stride, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(_depthwise(_padded(y, self.kernel, self.stride), self.depthwise)))
        return x + y if self.skip else y


def _depthwise(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """`layer` applied; while it learns, in the forms whose gradients CPUs are quick at."""
    if not (torch.is_grad_enabled() and layer.weight.requires_grad and x.device.type == "cpu"):
        return layer(x)
    with torch.autocast("cpu", enabled=False):
        # In bfloat16 the gradient of a strided one takes ten times as long as in float32.
        x = x.float() if layer.stride[0] > 1 else x
        y = DepthwiseConv.apply(x, layer.weight.to(x.dtype), layer.stride[0])
        return y + layer.bias.to(y.dtype)[:, None, None]


class DepthwiseConv(torch.autograd.Function):
    """A depthwise convolution without padding. The gradient of a 5 x 5 kernel is put together from four of 3 x 3: one
    of 5 x 5 takes oneDNN four times as long, and was half of a training step."""

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "B C H W"], kernel: Float[Tensor, "C 1 k k"], stride: int
    ) -> Float[Tensor, "B C h w"]:
        """The convolution, in the floats of what it is given."""
        ctx.save_for_backward(x, kernel)
        ctx.stride = stride
        return F.conv2d(x, kernel, stride=stride, groups=x.shape[1])

    @staticmethod
    def backward(
        ctx: Any, gradient: Float[Tensor, "B C h w"]
    ) -> tuple[Float[Tensor, "B C H W"] | None, Float[Tensor, "C 1 k k"], None]:
        """Gradients of the input, where it is asked for, and of the kernel."""
        x, kernel = ctx.saved_tensors
        size, stride = kernel.shape[2], ctx.stride
        if size <= 3:
            return *_gradients(gradient, x, kernel, stride, ctx.needs_input_grad[0], True), None
        of_kernel = torch.empty_like(kernel)
        part = kernel[:, :, :3, :3].contiguous()
        high, wide = (stride * (n - 1) + 3 for n in gradient.shape[2:])
        for row in (0, size - 3):
            for column in (0, size - 3):
                seen = x[:, :, row : row + high, column : column + wide].contiguous()
                _, values = _gradients(gradient, seen, part, stride, False, True)
                of_kernel[:, :, row : row + 3, column : column + 3] = values
        of_input, _ = _gradients(gradient, x, kernel, stride, True, False) if ctx.needs_input_grad[0] else (None, None)
        return of_input, of_kernel, None


def _gradients(
    gradient: Tensor, x: Tensor, kernel: Tensor, stride: int, of_input: bool, of_kernel: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Of a depthwise convolution's input and kernel, those that are asked for."""
    asked = [of_input, of_kernel, False]
    sizes = [stride, stride], [0, 0], [1, 1], False, [0, 0], x.shape[1]
    return torch.ops.aten.convolution_backward(gradient.contiguous(), x, kernel, None, *sizes, asked)[:2]


def _padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's "same": of an odd number of border pixels the larger half stands behind."""
    total = kernel - stride
    return F.pad(x, (total // 2, total - total // 2, total // 2, total - total // 2))
