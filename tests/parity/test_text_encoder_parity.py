"""The text encoders against `transformers`' T5EncoderModel and CLIPTextModel."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bildwerk.flux.params import ClipParams
from tests.parity.references import (
    BF16_BAR,
    CLIP,
    FP32_BAR,
    T5,
    reference_clip,
    reference_t5,
    relative_error,
    twin_clip,
    twin_t5,
)


def t5_ids(tokens: int) -> Tensor:
    """Two prompts of different lengths, padded."""
    ids = torch.randint(3, T5.vocab_size, (2, tokens), generator=torch.Generator().manual_seed(1))
    ids[0, tokens // 3 :] = 0
    return ids


@pytest.mark.parametrize("tokens", [9, 300], ids=["near positions", "positions beyond the farthest bucket"])
def test_t5_states_agree(tokens: int) -> None:
    reference = reference_t5(T5)
    expected = reference(t5_ids(tokens)).last_hidden_state
    assert relative_error(twin_t5(reference, T5)(t5_ids(tokens)), expected) <= FP32_BAR


def test_t5_in_bfloat16_is_close_to_float32() -> None:
    reference = reference_t5(T5)
    expected = reference(t5_ids(40)).last_hidden_state
    assert relative_error(twin_t5(reference, T5).bfloat16()(t5_ids(40)), expected) <= BF16_BAR


END = 70


def clip_ids() -> Tensor:
    """Padded with the end token, as CLIP does; the second row holds a higher id after its first end token."""
    ids = torch.full((2, 77), END)
    ids[:, :12] = torch.randint(3, END - 10, (2, 12), generator=torch.Generator().manual_seed(1))
    ids[1, 30] = END + 1
    return ids


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("eos_token_id", [2, END], ids=["highest id", "first end token"])
def test_clip_pooled_state_agrees(activation: str, eos_token_id: int) -> None:
    params: ClipParams = replace(CLIP, hidden_act=activation, eos_token_id=eos_token_id)
    reference = reference_clip(params)
    expected = reference(clip_ids()).pooler_output
    assert relative_error(twin_clip(reference, params)(clip_ids()), expected) <= FP32_BAR


def test_clip_end_of_text_rules_differ_where_a_higher_id_follows() -> None:
    reference = reference_clip(CLIP)
    legacy, literal = twin_clip(reference, CLIP), twin_clip(reference, replace(CLIP, eos_token_id=END))
    assert relative_error(legacy(clip_ids())[1], literal(clip_ids())[1]) > BF16_BAR


def test_clip_in_bfloat16_is_close_to_float32() -> None:
    reference = reference_clip(CLIP)
    expected = reference(clip_ids()).pooler_output
    assert relative_error(twin_clip(reference, CLIP).bfloat16()(clip_ids()), expected) <= BF16_BAR
