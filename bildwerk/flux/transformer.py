"""The FLUX transformer: where a noisy latent should move, given the text and the time.

S steps, B batch, L image tokens, T text tokens, C hidden size, V pooled text size.  Module names are the checkpoint's
keys.
Source: black-forest-labs/flux, `model.py`.

What depends on prompt and time alone, the modulation (27 % of the weights), is computed apart: `modulation` once a
prompt for all steps, `forward` once a step without it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from torch import Tensor, cat, nn
from torch.nn import functional as F

from bildwerk.flux.layers import (
    TIME_EMBEDDING_DIM,
    DoubleModulation,
    DoubleStreamBlock,
    FinalModulation,
    LastLayer,
    MLPEmbedder,
    ModulationOut,
    SingleStreamBlock,
    timestep_embedding,
)
from bildwerk.flux.params import TransformerParams


@dataclass(frozen=True, slots=True)
class StepModulation:
    """The shifts, scales and gates of every block at one time, B 1 C each."""

    double_blocks: tuple[DoubleModulation, ...]
    single_blocks: tuple[ModulationOut, ...]
    final_layer: FinalModulation

    def step(self, index: int) -> "StepModulation":
        """Where the tensors are S B 1 C: the modulation of one of the S steps (views)."""
        return StepModulation(
            tuple(DoubleModulation(*(_pick(layer, index) for layer in block)) for block in self.double_blocks),
            tuple(_pick(block, index) for block in self.single_blocks),
            FinalModulation(*(part[index] for part in self.final_layer)),
        )


def _pick(modulation: ModulationOut, index: int) -> ModulationOut:
    return ModulationOut(*(part[index] for part in modulation))


class Flux(nn.Module):
    """The velocity field. See `modulation` and `forward`."""

    def __init__(self, params: TransformerParams) -> None:
        super().__init__()
        self.params = params
        width = params.hidden_size
        self.img_in = nn.Linear(params.in_channels, width)
        self.time_in = MLPEmbedder(TIME_EMBEDDING_DIM, width)
        self.vector_in = MLPEmbedder(params.vec_in_dim, width)
        self.guidance_in = MLPEmbedder(TIME_EMBEDDING_DIM, width) if params.guidance_embed else None
        self.txt_in = nn.Linear(params.context_in_dim, width)
        self.double_blocks = nn.ModuleList(DoubleStreamBlock(params) for _ in range(params.depth))
        self.single_blocks = nn.ModuleList(SingleStreamBlock(params) for _ in range(params.depth_single_blocks))
        self.final_layer = LastLayer(width, params.out_channels)

    def modulation(self, timesteps: Tensor, pooled: Tensor, guidance: Tensor | None = None) -> list[StepModulation]:
        """timesteps: S B in [0, 1], pooled: B V, guidance: B (where the model has that input) -> one a step.

        All S steps go through each matrix together, so its weights are read once.
        Raises `ValueError` where guidance is given to a model that has no such input, or missing from one that has.
        """
        vec = self._condition(timesteps, pooled, guidance)
        activated = F.silu(vec)
        doubles = cast(Iterable[DoubleStreamBlock], self.double_blocks)
        singles = cast(Iterable[SingleStreamBlock], self.single_blocks)
        steps = StepModulation(
            tuple(block.modulation(activated) for block in doubles),
            tuple(block.modulation(activated)[0] for block in singles),
            self.final_layer.modulation(vec),
        )
        return [steps.step(index) for index in range(timesteps.shape[0])]

    def _condition(self, timesteps: Tensor, pooled: Tensor, guidance: Tensor | None) -> Tensor:
        vec = self.vector_in(pooled) + self.time_in(timestep_embedding(timesteps))
        if self.guidance_in is None and guidance is not None:
            raise ValueError("this model has no guidance input, but a guidance scale was given")
        if self.guidance_in is None:
            return vec
        if guidance is None:
            raise ValueError("this model needs a guidance scale for each batch entry, and got none")
        return vec + self.guidance_in(timestep_embedding(guidance))

    def forward(self, img: Tensor, txt: Tensor, rotary: Tensor, modulation: StepModulation) -> Tensor:
        """img: B L in_channels, txt: B T context_in_dim, rotary: (T + L) D/2 2 -> velocity: B L out_channels."""
        text_tokens = txt.shape[1]
        img, txt = self.img_in(img), self.txt_in(txt)
        for block, double in zip(self.double_blocks, modulation.double_blocks, strict=True):
            img, txt = block(img, txt, double, rotary)
        x = cat([txt, img], dim=1)
        for block, single in zip(self.single_blocks, modulation.single_blocks, strict=True):
            x = block(x, single, rotary)
        return self.final_layer(x[:, text_tokens:], modulation.final_layer)
