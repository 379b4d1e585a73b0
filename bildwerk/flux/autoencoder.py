"""The KL autoencoder of FLUX: pixels to latents and back.

B batch, C channels, H W pixels, h w latent positions (H / downscale).  Module names are those of `ae.safetensors`.
Source: black-forest-labs/flux, `modules/autoencoder.py`.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.flux.params import AutoencoderParams

NORM_EPSILON = 1e-6


def group_norm(channels: int, params: AutoencoderParams) -> nn.GroupNorm:
    return nn.GroupNorm(params.norm_groups, channels, eps=NORM_EPSILON)


class ResnetBlock(nn.Module):
    """`x + conv(norm(conv(norm(x))))`, with a 1x1 shortcut where the channel count changes."""

    def __init__(self, in_channels: int, out_channels: int, params: AutoencoderParams) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels, params)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels, params)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (x if self.nin_shortcut is None else self.nin_shortcut(x))


class AttnBlock(nn.Module):
    """Single-head self-attention over all latent positions."""

    def __init__(self, channels: int, params: AutoencoderParams) -> None:
        super().__init__()
        self.norm = group_norm(channels, params)
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2).unsqueeze(1)  # B 1 (h w) C
        attended = F.scaled_dot_product_attention(self.q(tokens), self.k(tokens), self.v(tokens))
        return x + self.proj_out(attended).squeeze(1).transpose(1, 2).reshape(x.shape)


class Downsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # the checkpoint was trained with this asymmetric padding


class Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """All residual blocks of one resolution; `downsample` or `upsample` leads to the next one, where there is one."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        params: AutoencoderParams,
        *,
        downsample: bool = False,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * num_blocks
        self.block = nn.ModuleList(ResnetBlock(a, b, params) for a, b in pairwise(widths))
        self.downsample = Downsample(out_channels) if downsample else None
        self.upsample = Upsample(out_channels) if upsample else None

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        for resample in (self.downsample, self.upsample):
            x = x if resample is None else resample(x)
        return x


class Middle(nn.Module):
    def __init__(self, channels: int, params: AutoencoderParams) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels, params)
        self.attn_1 = AttnBlock(channels, params)
        self.block_2 = ResnetBlock(channels, channels, params)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """Pixels to the moments (mean and log variance) of the latent distribution."""

    def __init__(self, params: AutoencoderParams) -> None:
        super().__init__()
        channels, last = params.channels, len(params.channels) - 1
        widths = (channels[0], *channels)
        self.conv_in = nn.Conv2d(params.in_channels, channels[0], 3, padding=1)
        self.down = nn.ModuleList(
            Level(widths[i], channels[i], params.num_res_blocks, params, downsample=i != last) for i in range(last + 1)
        )
        self.mid = Middle(channels[-1], params)
        self.norm_out = group_norm(channels[-1], params)
        self.conv_out = nn.Conv2d(channels[-1], 2 * params.z_channels, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels: B 3 H W in [-1, 1] -> moments: B 2*C h w."""
        x = self.conv_in(pixels)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """Latents to pixels. `up[0]` is the finest level, as in the checkpoint, so the forward pass walks it backwards."""

    def __init__(self, params: AutoencoderParams) -> None:
        super().__init__()
        channels = params.channels
        widths = (*channels, channels[-1])
        self.conv_in = nn.Conv2d(params.z_channels, channels[-1], 3, padding=1)
        self.mid = Middle(channels[-1], params)
        self.up = nn.ModuleList(
            Level(widths[i + 1], channels[i], params.num_res_blocks + 1, params, upsample=i != 0)
            for i in range(len(channels))
        )
        self.norm_out = group_norm(channels[0], params)
        self.conv_out = nn.Conv2d(channels[0], params.out_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """z: B C h w -> pixels: B 3 H W, about [-1, 1], not clamped."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class Autoencoder(nn.Module):
    """Both directions. Outside this class latents are `(z - shift_factor) * scale_factor`: about unit variance."""

    def __init__(self, params: AutoencoderParams) -> None:
        super().__init__()
        self.params = params
        self.encoder = Encoder(params)
        self.decoder = Decoder(params)

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels: B 3 H W in [-1, 1] -> mean and log variance: B C h w each, unscaled."""
        mean, log_variance = self.encoder(pixels).chunk(2, dim=1)
        return mean, log_variance.clamp(-30.0, 20.0)

    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """pixels: B 3 H W in [-1, 1] -> scaled latents: B C h w; the mean, or with noise (B C h w) a sample."""
        mean, log_variance = self.moments(pixels)
        z = mean if noise is None else mean + torch.exp(0.5 * log_variance) * noise
        return (z - self.params.shift_factor) * self.params.scale_factor

    def decode(self, latents: Tensor) -> Tensor:
        """latents: B C h w, scaled -> pixels: B 3 H W, about [-1, 1], not clamped."""
        return self.decoder(latents / self.params.scale_factor + self.params.shift_factor)
