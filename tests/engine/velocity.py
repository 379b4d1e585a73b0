"""A transformer's answer to one fixed question, for comparing two of them."""

from typing import NamedTuple

import torch
from torch import Tensor

from bench.gpu.networks import Shapes
from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.sampling import position_ids
from bildwerk.flux.transformer import Flux


class Inputs(NamedTuple):
    """L image tokens, T text tokens."""

    img: Tensor
    txt: Tensor
    rotary: Tensor
    timesteps: Tensor
    pooled: Tensor


def inputs(shapes: Shapes, batch: int = 1, side: int = 16, dtype: torch.dtype = torch.float32, seed: int = 0) -> Inputs:
    """side: latent positions."""
    params, generator = shapes.transformer, torch.Generator().manual_seed(seed)
    normal = [
        torch.randn(*size, generator=generator).to(dtype)
        for size in (
            (batch, (side // 2) ** 2, params.in_channels),
            (batch, shapes.text_tokens, params.context_in_dim),
            (batch, params.vec_in_dim),
        )
    ]
    rotary = rotary_embedding(position_ids(shapes.text_tokens, side, side), params)
    return Inputs(normal[0], normal[1], rotary, torch.full((1, batch), 0.75), normal[2])


@torch.no_grad()
def velocity(model: Flux, given: Inputs) -> Tensor:
    """B L out_channels."""
    return model(given.img, given.txt, given.rotary, model.modulation(given.timesteps, given.pooled)[0])


def relative_error(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return ((actual.double() - expected.double()).norm() / expected.double().norm()).item()
