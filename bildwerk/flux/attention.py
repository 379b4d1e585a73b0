"""Attention and the rotary position embedding of FLUX.

B batch, H heads, L tokens, D head dim.
Source: black-forest-labs/flux, `math.py`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from bildwerk.flux.params import TransformerParams

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q, k, v: B H L D -> B L (H D): every token attends to every token, without a mask."""
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def rotary_embedding(ids: Tensor, params: TransformerParams) -> Tensor:
    """ids: L 3 (position on each axis; zeros for text) -> L D/2 2, cosine and sine, float32.

    The angles are float64, as in the original: in float32 those of far positions would be off by whole digits.
    """
    angles = torch.cat([_angles(ids[:, i], dim, params.theta) for i, dim in enumerate(params.axes_dim)], dim=-1)
    return torch.stack([angles.cos(), angles.sin()], dim=-1).float()


def _angles(positions: Tensor, dim: int, theta: int) -> Tensor:
    exponents = torch.arange(0, dim, 2, dtype=torch.float64, device=positions.device) / dim
    return positions.double()[:, None] * theta**-exponents


def apply_rotary(x: Tensor, rotary: Tensor) -> Tensor:
    """x: B H L D, rotary: L D/2 2 -> x with each consecutive pair of channels turned by its angle, in x's dtype."""
    cos, sin = rotary.unbind(-1)
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([cos * even - sin * odd, sin * even + cos * odd], dim=-1)
    return turned.flatten(-2).to(x.dtype)
