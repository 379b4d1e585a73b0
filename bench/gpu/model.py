"""A model as the engine takes one: networks with random weights, and tokenizers whose words are numbers."""

from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from bench.gpu.networks import Networks, Shapes, twin
from bildwerk.engine.request import EngineSpec
from bildwerk.flux.params import ScheduleParams
from bildwerk.flux.tokenizers import PromptTokenizer
from bildwerk.weights.load import Components

STEPS = 4


def spec_of(shapes: Shapes) -> EngineSpec:
    smallest = 2 * shapes.autoencoder.downscale
    return EngineSpec(
        "random",
        Path("nowhere"),
        default_width=shapes.side,
        default_height=shapes.side,
        default_steps=STEPS,
        max_text_tokens=shapes.text_tokens,
        size_multiple=smallest,
        min_side=smallest,
    )


def reader(networks: Networks, shapes: Shapes) -> Callable[[], Components]:
    """What reads a model's folder elsewhere: new modules on the very same tensors, each time."""

    def read() -> Components:
        copy = twin(networks)
        return Components(
            transformer=copy.transformer,
            autoencoder=copy.autoencoder,
            t5=copy.t5,
            clip=copy.clip,
            t5_tokenizer=number_tokenizer(shapes.t5.vocab_size),
            clip_tokenizer=number_tokenizer(shapes.clip.vocab_size),
            schedule=ScheduleParams(),
            max_clip_tokens=shapes.clip_tokens,
        )

    return read


def number_tokenizer(vocabulary: int) -> PromptTokenizer:
    """It reads "17 4" as the tokens 17 and 4, and any other word as 0, which it also pads with."""
    words = {str(number): number for number in range(vocabulary)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PromptTokenizer(tokenizer, "0")
