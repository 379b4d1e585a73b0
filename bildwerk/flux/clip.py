"""The CLIP text encoder: what the prompt is about, in one vector.

B batch, T tokens (at most 77), H heads, C hidden size.  Module names are those of the checkpoint.
Source: openai/CLIP, `model.py`; names as in `transformers` (`CLIPTextModel`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.flux.params import ClipParams

LEGACY_EOS_TOKEN_ID = 2


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"quick_gelu": quick_gelu, "gelu": F.gelu}


class Embeddings(nn.Module):
    def __init__(self, params: ClipParams) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(params.vocab_size, params.hidden_size)
        self.position_embedding = nn.Embedding(params.max_position_embeddings, params.hidden_size)

    def forward(self, token_ids: Tensor) -> Tensor:
        return self.token_embedding(token_ids) + self.position_embedding.weight[: token_ids.shape[1]]


class SelfAttention(nn.Module):
    """Causal attention."""

    def __init__(self, params: ClipParams) -> None:
        super().__init__()
        width = params.hidden_size
        self.num_heads = params.num_attention_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: B T C -> B T C."""
        q, k, v = (self._heads(project(x)) for project in (self.q_proj, self.k_proj, self.v_proj))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class MLP(nn.Module):
    def __init__(self, params: ClipParams) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[params.hidden_act]
        self.fc1 = nn.Linear(params.hidden_size, params.intermediate_size)
        self.fc2 = nn.Linear(params.intermediate_size, params.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, params: ClipParams) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(params.hidden_size, eps=params.layer_norm_eps)
        self.self_attn = SelfAttention(params)
        self.layer_norm2 = nn.LayerNorm(params.hidden_size, eps=params.layer_norm_eps)
        self.mlp = MLP(params)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Stack(nn.Module):
    def __init__(self, params: ClipParams) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(params) for _ in range(params.num_hidden_layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class TextModel(nn.Module):
    def __init__(self, params: ClipParams) -> None:
        super().__init__()
        self.embeddings = Embeddings(params)
        self.encoder = Stack(params)
        self.final_layer_norm = nn.LayerNorm(params.hidden_size, eps=params.layer_norm_eps)

    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids: B T -> B T C, before the last norm."""
        return self.encoder(self.embeddings(token_ids))


def end_of_text(token_ids: Tensor, eos_token_id: int) -> Tensor:
    """token_ids: B T -> the position of each row's end-of-text token: B.

    Configurations written before the id was corrected say 2 and mean the highest id of the row.
    A row without the token yields position 0, as the reference does.
    """
    if eos_token_id == LEGACY_EOS_TOKEN_ID:
        return token_ids.argmax(dim=-1)
    return (token_ids == eos_token_id).int().argmax(dim=-1)


class ClipTextEncoder(nn.Module):
    """The pooled state at the end-of-text token. Raises `ValueError` for an activation it does not know."""

    def __init__(self, params: ClipParams) -> None:
        super().__init__()
        if params.hidden_act not in ACTIVATIONS:
            raise ValueError(f"hidden_act {params.hidden_act!r} is not one of {', '.join(sorted(ACTIVATIONS))}")
        self.params = params
        self.text_model = TextModel(params)

    def forward(self, token_ids: Tensor) -> Tensor:
        """token_ids: B T -> pooled: B C."""
        hidden = self.text_model(token_ids)
        rows = torch.arange(len(hidden), device=hidden.device)
        return self.text_model.final_layer_norm(hidden[rows, end_of_text(token_ids, self.params.eos_token_id)])
