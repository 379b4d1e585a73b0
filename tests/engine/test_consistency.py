"""Parts that do not belong together are refused at load, by both numbers, not found out in the middle of a picture."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from bildwerk.engine.consistency import check_consistency
from bildwerk.engine.request import EngineError, EngineSpec
from bildwerk.flux.params import ClipParams, T5Params
from bildwerk.weights.load import Components, load_components

SPEC = EngineSpec("toy", Path("nowhere"))


@pytest.fixture
def components(random_model: Path) -> Components:
    return load_components(random_model, torch.float32)


def alter(part: str, **numbers: int) -> Callable[[Components], None]:
    def change(components: Components) -> None:
        module = getattr(components, part)
        module.params = replace(module.params, **numbers)

    return change


def end_prompts_with_id_999(components: Components) -> None:
    components.t5_tokenizer.tokenizer.post_processor = TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 999)]
    )


def test_parts_that_belong_together_are_accepted(components: Components) -> None:
    check_consistency(SPEC, components)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (alter("t5", d_model=120), r"the transformer reads text \d+ wide, but T5 writes it 120 wide"),
        (alter("clip", hidden_size=9), r"the transformer reads a summary \d+ wide, but CLIP writes it 9 wide"),
        (alter("autoencoder", z_channels=5), r"the transformer reads patches \d+ wide, but the latents' are 20 wide"),
        (alter("transformer", out_channels=8), r"the transformer writes patches 8 wide, but the latents' are \d+ wide"),
        (alter("autoencoder", in_channels=4), "the autoencoder reads pixels 4 wide, but RGB is 3 wide"),
        (alter("autoencoder", out_channels=1), "the autoencoder writes pixels 1 wide, but RGB is 3 wide"),
        (alter("t5", vocab_size=40), r"the tokenizer of T5 writes ids up to \d+, but T5 reads ids below 40"),
        (
            alter("clip", vocab_size=50),
            r"the tokenizer of CLIP writes ids up to \d+, but CLIP reads ids below 50",
        ),
        (end_prompts_with_id_999, r"the tokenizer of T5 writes ids up to 999, but T5 reads ids below \d+"),
    ],
)
def test_parts_that_do_not_are_refused_by_both_numbers(
    components: Components, change: Callable[[Components], None], sentence: str
) -> None:
    change(components)
    with pytest.raises(EngineError, match=f"^toy: {sentence}$"):
        check_consistency(SPEC, components)


@pytest.mark.parametrize(
    ("promise", "sentence"),
    [
        ({"size_multiple": 12}, "size_multiple 12 is not a multiple of the model's 8"),
        ({"default_guidance": 3.5}, "default_guidance must be given exactly where the model has a guidance input"),
    ],
)
def test_a_spec_that_promises_what_the_model_cannot_keep_is_refused(
    components: Components, promise: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(EngineError, match=f"^toy: {sentence}$"):
        check_consistency(replace(SPEC, **promise), components)


@pytest.mark.parametrize("epsilon", [0.0, -1e-6])
def test_a_norm_that_could_divide_by_zero_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match=f"layer_norm_epsilon {epsilon} must be positive"):
        T5Params(layer_norm_epsilon=epsilon)
    with pytest.raises(ValueError, match=f"layer_norm_eps {epsilon} must be positive"):
        ClipParams(layer_norm_eps=epsilon)
