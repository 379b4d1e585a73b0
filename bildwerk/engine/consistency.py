"""Whether the parts of a loaded model belong together, and whether it can keep what its spec promises.

Each part was loaded strictly by its own numbers; only here are the numbers of one held against those of another.
"""

from collections.abc import Iterator

from bildwerk.engine.request import EngineError, EngineSpec
from bildwerk.flux.sampling import PATCH
from bildwerk.flux.tokenizers import PromptTokenizer
from bildwerk.weights.load import Components

RGB = 3


def check_consistency(spec: EngineSpec, components: Components) -> None:
    """Raise `EngineError` for the first two numbers that do not agree."""
    for fault in (*spec_faults(spec, components), *component_faults(components)):
        raise EngineError(f"{spec.id}: {fault}")


def spec_faults(spec: EngineSpec, components: Components) -> Iterator[str]:
    smallest = PATCH * components.autoencoder.params.downscale
    if spec.size_multiple % smallest:
        yield f"size_multiple {spec.size_multiple} is not a multiple of the model's {smallest}"
    if components.transformer.params.guidance_embed != (spec.default_guidance is not None):
        yield "default_guidance must be given exactly where the model has a guidance input"


def component_faults(components: Components) -> Iterator[str]:
    transformer, autoencoder = components.transformer.params, components.autoencoder.params
    patch = PATCH * PATCH * autoencoder.z_channels
    t5, clip = components.t5.params, components.clip.params
    yield from _unequal("the transformer reads text", transformer.context_in_dim, "T5 writes it", t5.d_model)
    yield from _unequal("the transformer reads a summary", transformer.vec_in_dim, "CLIP writes it", clip.hidden_size)
    yield from _unequal("the transformer reads patches", transformer.in_channels, "the latents' are", patch)
    yield from _unequal("the transformer writes patches", transformer.out_channels, "the latents' are", patch)
    yield from _unequal("the autoencoder reads pixels", autoencoder.in_channels, "RGB is", RGB)
    yield from _unequal("the autoencoder writes pixels", autoencoder.out_channels, "RGB is", RGB)
    yield from _unreadable("T5", components.t5_tokenizer, t5.vocab_size)
    yield from _unreadable("CLIP", components.clip_tokenizer, clip.vocab_size)


def _unequal(one: str, width: int, other: str, other_width: int) -> Iterator[str]:
    if width != other_width:
        yield f"{one} {width} wide, but {other} {other_width} wide"


def _unreadable(encoder: str, tokenizer: PromptTokenizer, vocab_size: int) -> Iterator[str]:
    highest = highest_id(tokenizer)
    if highest >= vocab_size:
        yield f"the tokenizer of {encoder} writes ids up to {highest}, but {encoder} reads ids below {vocab_size}"


def highest_id(tokenizer: PromptTokenizer) -> int:
    """Of the vocabulary, and of the tokens that are put around every prompt: those carry ids of their own."""
    inner = tokenizer.tokenizer
    return max(*inner.get_vocab().values(), *inner.encode("").ids, 0, 0)
