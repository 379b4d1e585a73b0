"""The positions of a picture's tokens are turned into angles once a size."""

import torch

from bench.gpu.networks import TINY
from bildwerk.engine import denoising
from bildwerk.engine.denoising import rotary_for
from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.sampling import position_ids

CPU = torch.device("cpu")


def test_a_size_that_was_seen_is_not_computed_again(monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(denoising, "rotary_embedding", lambda *given: calls.append(1) or rotary_embedding(*given))
    rotary_for.cache_clear()
    first, wide, again = (rotary_for(TINY.transformer, 16, 8, width, CPU) for width in (8, 12, 8))
    assert len(calls) == 2
    assert again is first
    assert torch.equal(wide, rotary_embedding(position_ids(16, 8, 12), TINY.transformer))


def test_what_was_made_for_inference_serves_outside_of_it() -> None:
    rotary_for.cache_clear()
    with torch.inference_mode():
        made = rotary_for(TINY.transformer, 16, 8, 8, CPU)
    assert not made.is_inference()
