"""The T5 v1.1 encoder: what the prompt's tokens mean, one vector each.

B batch, T tokens, H heads, D head dim, C model width.  Module names are those of the checkpoint.
Source: google-research/text-to-text-transfer-transformer; names as in `transformers` (`T5EncoderModel`).

No mask: FLUX was trained with the padding attended to, so trimming it changes the picture.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.flux.params import T5Params


def root_mean_square_norm(params: T5Params) -> nn.RMSNorm:
    """No mean, no bias; its statistics are float32 whatever the dtype."""
    return nn.RMSNorm(params.d_model, eps=params.layer_norm_epsilon)


class SelfAttention(nn.Module):
    """Attention without a scale: T5 folds it into the weights."""

    def __init__(self, params: T5Params, *, has_bias: bool) -> None:
        super().__init__()
        width, inner = params.d_model, params.num_heads * params.d_kv
        self.num_heads = params.num_heads
        self.q = nn.Linear(width, inner, bias=False)
        self.k = nn.Linear(width, inner, bias=False)
        self.v = nn.Linear(width, inner, bias=False)
        self.o = nn.Linear(inner, width, bias=False)
        buckets = params.relative_attention_num_buckets
        self.relative_attention_bias = nn.Embedding(buckets, params.num_heads) if has_bias else None

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x: B T C, bias: 1 H T T -> B T C."""
        q, k, v = (self._heads(project(x)) for project in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        return self.o(attended.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class AttentionLayer(nn.Module):
    def __init__(self, params: T5Params, *, has_bias: bool) -> None:
        super().__init__()
        self.SelfAttention = SelfAttention(params, has_bias=has_bias)
        self.layer_norm = root_mean_square_norm(params)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return x + self.SelfAttention(self.layer_norm(x), bias)


class GatedMLP(nn.Module):
    def __init__(self, params: T5Params) -> None:
        super().__init__()
        self.wi_0 = nn.Linear(params.d_model, params.d_ff, bias=False)
        self.wi_1 = nn.Linear(params.d_model, params.d_ff, bias=False)
        self.wo = nn.Linear(params.d_ff, params.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class MLPLayer(nn.Module):
    def __init__(self, params: T5Params) -> None:
        super().__init__()
        self.DenseReluDense = GatedMLP(params)  # the checkpoint's name; v1.1 gates with a GELU
        self.layer_norm = root_mean_square_norm(params)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.DenseReluDense(self.layer_norm(x))


class Block(nn.Module):
    def __init__(self, params: T5Params, *, has_bias: bool) -> None:
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(params, has_bias=has_bias), MLPLayer(params)])

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        attention, mlp = self.layer
        return mlp(attention(x, bias))


class Stack(nn.Module):
    """All blocks. The first one owns the table of relative position biases that every block uses."""

    def __init__(self, params: T5Params) -> None:
        super().__init__()
        self.params = params
        self.block = nn.ModuleList(Block(params, has_bias=i == 0) for i in range(params.num_layers))
        self.final_layer_norm = root_mean_square_norm(params)

    def forward(self, x: Tensor) -> Tensor:
        """x: B T C -> B T C."""
        bias = self.position_bias(x.shape[1])
        for block in self.block:
            x = block(x, bias)
        return self.final_layer_norm(x)

    def position_bias(self, tokens: int) -> Tensor:
        """What each head adds to each logit: 1 H T T."""
        table: Tensor = self.get_parameter("block.0.layer.0.SelfAttention.relative_attention_bias.weight")
        position = torch.arange(tokens, device=table.device)
        buckets = relative_position_buckets(position[None, :] - position[:, None], self.params)
        return F.embedding(buckets, table).permute(2, 0, 1).unsqueeze(0)


def relative_position_buckets(offset: Tensor, params: T5Params) -> Tensor:
    """offset: any shape, key minus query -> bucket of the same shape.

    Half of the buckets for each direction; in each, half for one offset apiece and half growing logarithmically.
    """
    one_sided = params.relative_attention_num_buckets // 2
    exact = one_sided // 2
    distance = offset.abs()
    growth = math.log(params.relative_attention_max_distance / exact)
    far = exact + (torch.log(distance.float() / exact) / growth * (one_sided - exact)).long()
    bucket = torch.where(distance < exact, distance, far.clamp(max=one_sided - 1))
    return bucket + one_sided * (offset > 0)


class T5Encoder(nn.Module):
    def __init__(self, params: T5Params) -> None:
        super().__init__()
        self.params = params
        self.shared = nn.Embedding(params.vocab_size, params.d_model)
        self.encoder = Stack(params)

    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids: B T, padded -> B T C."""
        return self.encoder(self.shared(token_ids))
