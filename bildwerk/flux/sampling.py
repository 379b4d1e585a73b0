"""From noise to latents: the schedule, the starting noise, the packing into tokens and the Euler loop.

B batch, S steps, C latent channels, h w latent positions, L = (h/2 w/2) image tokens, T text tokens.
Source: black-forest-labs/flux, `sampling.py`; schedule and noise agree with `diffusers.FluxPipeline`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bildwerk.flux.params import ScheduleParams
from bildwerk.flux.transformer import Flux, StepModulation

PATCH = 2
"""Latent positions a side that one image token stands for."""


@dataclass(frozen=True, slots=True)
class Step:
    """One finished Euler step: the latents at time `t`, and the velocity that led there (B L 4C each, float32)."""

    index: int
    t: float
    x_t: Tensor
    velocity: Tensor

    @property
    def estimate(self) -> Tensor:
        """Where the latents would end if the velocity stayed as it is: the picture so far, B L 4C."""
        return self.x_t - self.t * self.velocity


def timesteps(steps: int, image_tokens: int, params: ScheduleParams) -> list[float]:
    """The times between which `steps` Euler steps move: steps + 1 values, from 1 down to 0."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    linear = (1 - i / steps for i in range(steps))
    shift = math.exp(_dynamic_shift(image_tokens, params)) if params.dynamic else params.shift
    return [shift * t / (1 + (shift - 1) * t) for t in linear] + [0.0]


def _dynamic_shift(image_tokens: int, params: ScheduleParams) -> float:
    slope = (params.max_shift - params.base_shift) / (params.max_image_tokens - params.base_image_tokens)
    return params.base_shift + slope * (image_tokens - params.base_image_tokens)


def noise(seed: int, channels: int, height: int, width: int) -> Tensor:
    """The starting latents of one image: 1 C h w, float32. height and width are in latent positions.

    They are drawn on the CPU, one image at a time, so that they are the same for every device and in every batch.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, channels, height, width, generator=generator)


def pack(latents: Tensor) -> Tensor:
    """latents: B C h w -> tokens: B (h/2 w/2) 4C, each a 2 x 2 patch, channel-major. h and w are even."""
    patches = latents.unflatten(-1, (-1, PATCH)).unflatten(-3, (-1, PATCH))  # B C h/2 2 w/2 2
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """tokens: B (h/2 w/2) 4C -> latents: B C h w. height and width are in latent positions."""
    patches = tokens.unflatten(1, (height // PATCH, width // PATCH)).unflatten(-1, (-1, PATCH, PATCH))
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def position_ids(text_tokens: int, height: int, width: int) -> Tensor:
    """Where each token stands on the three axes: (T + L) 3, float32; text at the origin, image tokens at (0, y, x).

    height and width are in latent positions.
    """
    y, x = torch.meshgrid(torch.arange(height // PATCH), torch.arange(width // PATCH), indexing="ij")
    image = torch.stack([torch.zeros_like(y), y, x], dim=-1).flatten(0, 1)
    return torch.cat([torch.zeros(text_tokens, 3), image.float()])


def denoise(
    model: Flux,
    x_t: Tensor,
    *,
    txt: Tensor,
    rotary: Tensor,
    modulations: Sequence[StepModulation],
    times: Sequence[float],
) -> Iterator[Step]:
    """Euler steps from `times[0]` to `times[-1]`, yielding after each.

    x_t: B L 4C, txt: B T D, rotary: (T + L) D/2 2; one modulation a step and one time more (see `Flux.modulation`,
    `timesteps`).  The latents are summed in float32; the model computes in txt's dtype.
    """
    for index, (t, t_next, modulation) in enumerate(zip(times[:-1], times[1:], modulations, strict=True)):
        velocity = model(x_t.to(txt.dtype), txt, rotary, modulation).float()
        x_t = x_t + (t_next - t) * velocity
        yield Step(index, t_next, x_t, velocity)
