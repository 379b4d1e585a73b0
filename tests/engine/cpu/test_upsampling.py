import torch
from torch import nn
from torch.nn import functional as F

from bildwerk.engine.cpu.upsampling import DoublingConv


@torch.no_grad()
def test_doubling_and_its_convolution_are_one() -> None:
    conv = nn.Conv2d(5, 7, 3, padding=1)
    x = torch.randn(2, 5, 6, 9, generator=torch.Generator().manual_seed(0))
    expected = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    torch.testing.assert_close(DoublingConv(conv)(x), expected, rtol=1e-5, atol=1e-5)
