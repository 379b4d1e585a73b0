"""The building blocks of the FLUX transformer.

B batch, L image or joint tokens, T text tokens, H heads, D head dim,
C hidden size.  Module names are the checkpoint's keys.
Source: black-forest-labs/flux, `modules/layers.py`.

One thing differs from the source: a block does not compute its own modulation. It is handed it, so that the
modulation of all blocks and all steps can be computed once a prompt (`Flux.modulation`), outside the hot loop.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.flux.attention import Attend, apply_rotary, attention
from bildwerk.flux.params import TransformerParams

NORM_EPSILON = 1e-6
TIME_EMBEDDING_DIM = 256


class ModulationOut(NamedTuple):
    """What one modulated layer needs, B 1 C each. `scale` has its one already added; a final layer has no gate."""

    shift: Tensor
    scale: Tensor
    gate: Tensor


class DoubleModulation(NamedTuple):
    """The four modulated layers of a double-stream block."""

    img_attn: ModulationOut
    img_mlp: ModulationOut
    txt_attn: ModulationOut
    txt_mlp: ModulationOut


class FinalModulation(NamedTuple):
    """The last layer's shift and scale (one already added), B 1 C each."""

    shift: Tensor
    scale: Tensor


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x: B L C, shift and scale: B 1 C -> layer norm without weights, scaled and shifted."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON), scale)


def timestep_embedding(t: Tensor, dim: int = TIME_EMBEDDING_DIM, max_period: float = 10_000.0) -> Tensor:
    """t: ..., in [0, 1] -> ... dim sinusoids of 1000 t, cosines first, float32.

    float32 whatever the model's dtype: bfloat16 would round 750 of 1000 to 752.
    """
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = (1000.0 * t.float())[..., None] * torch.exp(-math.log(max_period) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class MLPEmbedder(nn.Module):
    """A vector of conditions (time, guidance, pooled text) to the hidden size."""

    def __init__(self, in_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(in_dim, hidden_dim)
        self.out_layer = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, x: Tensor) -> Tensor:
        """x: ... in_dim -> ... C, computed in the dtype of the bias, since quantized weights have one of their own."""
        return self.out_layer(F.silu(self.in_layer(x.to(self.in_layer.bias.dtype))))


class RMSNorm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.scale.shape, self.scale, NORM_EPSILON)


class QKNorm(nn.Module):
    """Keeps the attention logits bounded: queries and keys are normed a head at a time."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query_norm = RMSNorm(dim)
        self.key_norm = RMSNorm(dim)

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        return self.query_norm(q), self.key_norm(k)


def split_heads(qkv: Tensor, num_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """qkv: B L (3 H D) -> q, k, v: B H L D each."""
    q, k, v = qkv.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v


class SelfAttention(nn.Module):
    """The projections of one stream; the attention itself is joint, so the block runs it."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.norm = QKNorm(dim // num_heads)
        self.proj = nn.Linear(dim, dim)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: B L C -> q, k (normed) and v: B H L D each."""
        q, k, v = split_heads(self.qkv(x), self.num_heads)
        return *self.norm(q, k), v


class Modulation(nn.Module):
    """The condition vector to shift, scale and gate, once (single-stream) or twice (double-stream)."""

    def __init__(self, dim: int, *, double: bool) -> None:
        super().__init__()
        self.multiplier = 6 if double else 3
        self.lin = nn.Linear(dim, self.multiplier * dim)

    def forward(self, vec: Tensor) -> list[ModulationOut]:
        """vec: ... C, after SiLU -> one or two modulations of ... 1 C."""
        parts = self.lin(vec).unsqueeze(-2).chunk(self.multiplier, dim=-1)
        return [
            ModulationOut(shift, 1 + scale, gate)
            for shift, scale, gate in zip(parts[0::3], parts[1::3], parts[2::3], strict=True)
        ]


def mlp(params: TransformerParams) -> nn.Sequential:
    width, hidden = params.hidden_size, params.mlp_hidden_dim
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


class DoubleStreamBlock(nn.Module):
    """Image and text each with weights of their own, attending jointly (text first)."""

    def __init__(self, params: TransformerParams) -> None:
        super().__init__()
        width = params.hidden_size
        self.img_mod = Modulation(width, double=True)
        self.img_attn = SelfAttention(width, params.num_heads, params.qkv_bias)
        self.img_mlp = mlp(params)
        self.txt_mod = Modulation(width, double=True)
        self.txt_attn = SelfAttention(width, params.num_heads, params.qkv_bias)
        self.txt_mlp = mlp(params)
        self.attend: Attend = attention

    def modulation(self, vec: Tensor) -> DoubleModulation:
        """vec: ... C, after SiLU -> ... 1 C each."""
        return DoubleModulation(*self.img_mod(vec), *self.txt_mod(vec))

    def forward(self, img: Tensor, txt: Tensor, mod: DoubleModulation, rotary: Tensor) -> tuple[Tensor, Tensor]:
        """img: B L C, txt: B T C, rotary: (T + L) D/2 2 -> img, txt of the same shapes."""
        txt_heads = self.txt_attn.heads(modulate(txt, mod.txt_attn.shift, mod.txt_attn.scale))
        img_heads = self.img_attn.heads(modulate(img, mod.img_attn.shift, mod.img_attn.scale))
        q, k, v = (torch.cat(pair, dim=2) for pair in zip(txt_heads, img_heads, strict=True))
        attended = self.attend(apply_rotary(q, rotary), apply_rotary(k, rotary), v)
        txt_attended, img_attended = attended.split([txt.shape[1], img.shape[1]], dim=1)

        img = torch.addcmul(img, mod.img_attn.gate, self.img_attn.proj(img_attended))
        img = torch.addcmul(img, mod.img_mlp.gate, self.img_mlp(modulate(img, mod.img_mlp.shift, mod.img_mlp.scale)))
        txt = torch.addcmul(txt, mod.txt_attn.gate, self.txt_attn.proj(txt_attended))
        txt = torch.addcmul(txt, mod.txt_mlp.gate, self.txt_mlp(modulate(txt, mod.txt_mlp.shift, mod.txt_mlp.scale)))
        return img, txt


class SingleStreamBlock(nn.Module):
    """All tokens in one stream; attention and MLP run in parallel and share one matrix in and one out."""

    def __init__(self, params: TransformerParams) -> None:
        super().__init__()
        width = params.hidden_size
        self.num_heads = params.num_heads
        self.linear1_widths = [3 * width, params.mlp_hidden_dim]
        self.linear1 = nn.Linear(width, sum(self.linear1_widths))
        self.linear2 = nn.Linear(width + params.mlp_hidden_dim, width)
        self.norm = QKNorm(params.head_dim)
        self.modulation = Modulation(width, double=False)
        self.attend: Attend = attention

    def forward(self, x: Tensor, mod: ModulationOut, rotary: Tensor) -> Tensor:
        """x: B L C, rotary: L D/2 2 -> B L C."""
        qkv, hidden = self.linear1(modulate(x, mod.shift, mod.scale)).split(self.linear1_widths, dim=-1)
        q, k, v = split_heads(qkv, self.num_heads)
        q, k = self.norm(q, k)
        attended = self.attend(apply_rotary(q, rotary), apply_rotary(k, rotary), v)
        joined = torch.cat([attended, F.gelu(hidden, approximate="tanh")], dim=-1)
        return torch.addcmul(x, mod.gate, self.linear2(joined))


class LastLayer(nn.Module):
    """Image tokens to the velocity of their latent patch."""

    def __init__(self, hidden_size: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden_size, 2 * hidden_size))

    def modulation(self, vec: Tensor) -> FinalModulation:
        """vec: ... C, before SiLU -> ... 1 C each."""
        shift, scale = self.adaLN_modulation(vec).unsqueeze(-2).chunk(2, dim=-1)
        return FinalModulation(shift, 1 + scale)

    def forward(self, x: Tensor, mod: FinalModulation) -> Tensor:
        """x: B L C -> B L out_channels."""
        return self.linear(modulate(x, mod.shift, mod.scale))
