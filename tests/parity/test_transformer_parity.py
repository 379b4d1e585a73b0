"""The transformer against `diffusers.FluxTransformer2DModel`."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.params import TransformerParams
from bildwerk.flux.sampling import position_ids
from bildwerk.flux.transformer import Flux
from tests.parity.references import (
    BF16_BAR,
    FP32_BAR,
    GUTTED_BAR,
    TRANSFORMER,
    reference_transformer,
    relative_error,
    twin_transformer,
)

TEXT_TOKENS, HEIGHT, WIDTH = 7, 6, 10
VARIANTS = {
    "schnell": TRANSFORMER,
    "dev": replace(TRANSFORMER, guidance_embed=True),
    "one head, no single blocks": replace(TRANSFORMER, num_heads=1, axes_dim=(16, 40, 40), depth_single_blocks=0),
    "no double blocks": replace(TRANSFORMER, depth=0, depth_single_blocks=2),
}


def inputs(params: TransformerParams, batch: int = 2) -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return {
        "img": draw(batch, HEIGHT * WIDTH // 4, params.in_channels),
        "txt": draw(batch, TEXT_TOKENS, params.context_in_dim),
        "pooled": draw(batch, params.vec_in_dim),
        "timesteps": torch.linspace(1.0, 0.3, batch),
        "guidance": torch.linspace(3.5, 1.0, batch) if params.guidance_embed else None,
    }


def ours(model: Flux, given: dict, dtype: torch.dtype = torch.float32) -> Tensor:
    rotary = rotary_embedding(position_ids(TEXT_TOKENS, HEIGHT, WIDTH), model.params)
    (modulation,) = model.modulation(given["timesteps"][None], given["pooled"].to(dtype), given["guidance"])
    return model(given["img"].to(dtype), given["txt"].to(dtype), rotary, modulation)


def theirs(model: nn.Module, given: dict) -> Tensor:
    ids = position_ids(TEXT_TOKENS, HEIGHT, WIDTH)
    return model(
        hidden_states=given["img"],
        encoder_hidden_states=given["txt"],
        pooled_projections=given["pooled"],
        timestep=given["timesteps"],
        guidance=given["guidance"],
        txt_ids=ids[:TEXT_TOKENS],
        img_ids=ids[TEXT_TOKENS:],
        return_dict=False,
    )[0]


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())
def test_velocity_agrees(params: TransformerParams) -> None:
    reference = reference_transformer(params)
    model, given = twin_transformer(reference, params), inputs(params)
    assert relative_error(ours(model, given), theirs(reference, given)) <= FP32_BAR


def test_velocity_in_bfloat16_is_close_to_float32() -> None:
    reference = reference_transformer(TRANSFORMER)
    model, given = twin_transformer(reference, TRANSFORMER).bfloat16(), inputs(TRANSFORMER)
    assert relative_error(ours(model, given, torch.bfloat16), theirs(reference, given)) <= BF16_BAR


def test_a_gutted_model_fails_the_same_comparison() -> None:
    reference = reference_transformer(TRANSFORMER)
    model, given = twin_transformer(reference, TRANSFORMER), inputs(TRANSFORMER)
    for name, parameter in model.named_parameters():
        if any(part in name for part in ("attn.", "mlp.", "linear1", "linear2")) and parameter.ndim == 2:
            parameter.zero_()
    assert relative_error(ours(model, given), theirs(reference, given)) >= GUTTED_BAR


def test_all_steps_at_once_modulate_as_one_by_one() -> None:
    params = VARIANTS["dev"]
    model, given = twin_transformer(reference_transformer(params), params), inputs(params)
    times = torch.tensor([[1.0, 1.0], [0.6, 0.5], [0.1, 0.2]])
    together = model.modulation(times, given["pooled"], given["guidance"])
    rotary = rotary_embedding(position_ids(TEXT_TOKENS, HEIGHT, WIDTH), params)
    for step, modulation in zip(times, together, strict=True):
        expected = ours(model, given | {"timesteps": step})
        assert relative_error(model(given["img"], given["txt"], rotary, modulation), expected) <= FP32_BAR
