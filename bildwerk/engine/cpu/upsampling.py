"""Doubling an image and convolving it, by four convolutions of the image as it was: 4/9 of the arithmetic.

B batch, C channels, H W pixels.

A row of the doubled image is there twice, so of the three rows under a 3x3 kernel two are the same: their weights can
be added beforehand, which leaves 2x2 kernels, one for each place that a pixel of the result can have in its pair.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PLACES = (0, 1)
"""In a pair of rows or columns of the result."""


class DoublingConv:
    """`conv(doubled(x))` of a 3x3 convolution with padding 1, to the rounding of its weights' sums."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.bias = conv.bias
        weight, kind = conv.weight.detach().float(), conv.weight.dtype
        self.kernels = {
            (row, column): _merged(_merged(weight, row, 2), column, 3)
            .to(kind)
            .contiguous(memory_format=torch.channels_last)
            for row in PLACES
            for column in PLACES
        }

    def __call__(self, x: Tensor) -> Tensor:
        """x: B C H W -> B C' 2H 2W, channels last."""
        batch, _, height, width = x.shape
        channels = next(iter(self.kernels.values())).shape[0]
        out = torch.empty(batch, channels, 2 * height, 2 * width, dtype=x.dtype, memory_format=torch.channels_last)
        for (row, column), kernel in self.kernels.items():
            # Padded on both sides the result has one row and column more than are wanted, of which the place says.
            part = F.conv2d(x, kernel, self.bias, padding=1)
            out[:, :, row::2, column::2] = part[:, :, row : row + height, column : column + width]
        return out


def _merged(weight: Tensor, place: int, dim: int) -> Tensor:
    """Three taps to two: the first place of a pair sees the row before and its own twice, the second its own twice and
    the row after."""
    first, middle, last = weight.unbind(dim)
    return torch.stack([first, middle + last] if place == 0 else [first + middle, last], dim)
