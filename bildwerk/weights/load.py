"""A folder in the layout of diffusers becomes running modules.

Its code and class names are of no account: configurations are read as numbers, weights only from safetensors files.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.params import ScheduleParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.tokenizers import PromptTokenizer
from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import build
from bildwerk.weights.config_file import ConfigFile
from bildwerk.weights.configs import read_autoencoder, read_clip, read_schedule, read_t5, read_transformer
from bildwerk.weights.layouts import autoencoder_layouts, clip_layouts, t5_layouts, transformer_layouts
from bildwerk.weights.load_tokenizer import load_clip_tokenizer, load_t5_tokenizer
from bildwerk.weights.read_safetensors import find_safetensors


@dataclass(frozen=True, slots=True)
class Components:
    """All of one model, ready for inference (no gradients). `max_clip_tokens` is the length of CLIP's context."""

    transformer: Flux
    autoencoder: Autoencoder
    t5: T5Encoder
    clip: ClipTextEncoder
    t5_tokenizer: PromptTokenizer
    clip_tokenizer: PromptTokenizer
    schedule: ScheduleParams
    max_clip_tokens: int


def load_components(folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu") -> Components:
    """folder: one that `diffusers.FluxPipeline` could load. Raises `WeightsError` for whatever is wrong with it."""
    clip = load_clip(folder / "text_encoder", dtype, device)
    clip_tokenizer, max_clip_tokens = load_clip_tokenizer(folder / "tokenizer")
    return Components(
        transformer=load_transformer(folder / "transformer", dtype, device),
        autoencoder=load_autoencoder(folder / "vae", dtype, device),
        t5=load_t5(folder / "text_encoder_2", dtype, device),
        clip=clip,
        t5_tokenizer=load_t5_tokenizer(folder / "tokenizer_2"),
        clip_tokenizer=clip_tokenizer,
        schedule=read_schedule(ConfigFile.read(folder / "scheduler" / "scheduler_config.json")),
        max_clip_tokens=min(max_clip_tokens, clip.params.max_position_embeddings),
    )


def load_transformer(folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu") -> Flux:
    """The component in `transformer/`. Raises `WeightsError`, as do all of these."""
    params = read_transformer(ConfigFile.read(folder / "config.json"))
    return build(lambda: Flux(params), find_safetensors(folder), transformer_layouts(params), dtype, device)


def load_autoencoder(folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu") -> Autoencoder:
    """The component in `vae/`."""
    params = read_autoencoder(ConfigFile.read(folder / "config.json"))
    return build(lambda: Autoencoder(params), find_safetensors(folder), autoencoder_layouts(params), dtype, device)


def load_t5(folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu") -> T5Encoder:
    """The component in `text_encoder_2/`."""
    params = read_t5(ConfigFile.read(folder / "config.json"))
    return build(lambda: T5Encoder(params), find_safetensors(folder), t5_layouts(), dtype, device)


def load_clip(folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu") -> ClipTextEncoder:
    """The component in `text_encoder/`."""
    params = read_clip(ConfigFile.read(folder / "config.json"))
    return build(lambda: ClipTextEncoder(params), find_safetensors(folder), clip_layouts(), dtype, device)
