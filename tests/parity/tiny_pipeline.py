"""A whole `diffusers.FluxPipeline` of toy size, with tokenizers made by hand."""

from dataclasses import replace

from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer, T5Tokenizer

from tests.parity.references import (
    AUTOENCODER,
    CLIP,
    T5,
    TRANSFORMER,
    reference_autoencoder,
    reference_clip,
    reference_t5,
    reference_transformer,
)

TEXT_TOKENS = 16
MERGES = [("t", "h"), ("th", "e</w>"), ("c", "a"), ("ca", "t</w>"), ("a", "n"), ("an", "d</w>"), ("1", "2</w>")]
PIECES = ["▁", "▁the", "▁a", "▁cat", "▁dog", "▁and", "s", "ing", *"abcdefghijklmnopqrstuvwxyz0123456789.,!?-'"]


def clip_vocabulary() -> dict[str, int]:
    """CLIP's shape at toy size: every byte, every byte at a word's end, the merges, and the two special tokens last."""
    alphabet = sorted(ByteLevel.alphabet())
    merged = [first + second for first, second in MERGES]
    tokens = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *merged, "<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}


def clip_tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer(vocab=clip_vocabulary(), merges=MERGES, model_max_length=77)


def t5_tokenizer() -> T5Tokenizer:
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    scored = [(piece, -2.0 - 0.1 * index) for index, piece in enumerate(PIECES)]
    return T5Tokenizer(vocab=special + scored, extra_ids=2, model_max_length=TEXT_TOKENS)


def tiny_pipeline(*, guidance: bool = False, dynamic: bool = False) -> FluxPipeline:
    clip = replace(CLIP, vocab_size=len(clip_vocabulary()), hidden_size=TRANSFORMER.vec_in_dim)
    t5 = replace(T5, d_model=TRANSFORMER.context_in_dim)
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=dynamic, shift=3.0 if dynamic else 1.0),
        vae=reference_autoencoder(AUTOENCODER),
        text_encoder=reference_clip(clip),
        tokenizer=clip_tokenizer(),
        text_encoder_2=reference_t5(t5),
        tokenizer_2=t5_tokenizer(),
        transformer=reference_transformer(replace(TRANSFORMER, guidance_embed=guidance)),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
