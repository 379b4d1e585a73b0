"""What the text encoders promise beyond their numbers, which tests/parity compares."""

from dataclasses import replace

import pytest
import torch

from bildwerk.flux.clip import ClipTextEncoder, end_of_text
from bildwerk.flux.t5 import T5Encoder, relative_position_buckets
from tests.parity.references import CLIP, T5, randomize


def test_end_of_text_is_the_highest_id_by_the_legacy_rule() -> None:
    assert end_of_text(torch.tensor([[5, 9, 2, 9], [7, 1, 1, 1]]), eos_token_id=2).tolist() == [1, 0]


def test_end_of_text_is_the_first_end_token_otherwise() -> None:
    assert end_of_text(torch.tensor([[5, 9, 3, 3], [3, 3, 3, 3]]), eos_token_id=3).tolist() == [2, 0]


def test_clip_does_not_look_past_the_end_of_text() -> None:
    encoder = randomize(ClipTextEncoder(replace(CLIP, eos_token_id=50)))
    ids = torch.tensor([[4, 5, 50, 50, 50], [4, 5, 50, 60, 61]])
    pooled = encoder(ids)
    torch.testing.assert_close(pooled[0], pooled[1])


def test_clip_refuses_an_activation_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="hidden_act 'relu' is not one of gelu, quick_gelu"):
        ClipTextEncoder(replace(CLIP, hidden_act="relu"))


def test_t5_attends_to_its_padding() -> None:
    encoder = randomize(T5Encoder(T5))
    short, padded = encoder(torch.tensor([[4, 5, 1]])), encoder(torch.tensor([[4, 5, 1, 0, 0]]))
    assert not torch.allclose(short, padded[:, :3], rtol=0.01)


def test_t5_buckets_tell_before_from_after_and_near_from_far() -> None:
    buckets = relative_position_buckets(torch.tensor([0, -1, 1, -7, 7, -8, -127, -5000, 5000]), T5)
    assert buckets.tolist() == [0, 1, 17, 7, 23, 8, 15, 15, 31]
