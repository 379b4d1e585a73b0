"""A model's folder becomes running modules: the layout of diffusers, single files, or both mixed.

Its code and class names are of no account: configurations are read as numbers, and weights only from
files that can run no code.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.params import ScheduleParams, TransformerParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.tokenizers import PromptTokenizer
from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import Target, build
from bildwerk.weights.config_file import ConfigFile
from bildwerk.weights.configs import read_autoencoder, read_clip, read_schedule, read_t5, read_transformer
from bildwerk.weights.layouts import autoencoder_layouts, clip_layouts, t5_layouts, transformer_layouts
from bildwerk.weights.load_tokenizer import load_clip_tokenizer, load_t5_tokenizer
from bildwerk.weights.measured_params import measure_autoencoder, measure_clip, measure_t5, measure_transformer
from bildwerk.weights.places import Place, find_places, in_folder
from bildwerk.weights.signatures import Component


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


def load_components(
    folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu", *, keeps_packed: bool = True
) -> Components:
    """folder: one that `diffusers.FluxPipeline` could load, or single files beside the tokenizers' folders.

    Without `keeps_packed`, quantized weights become `dtype` when they are loaded, not when they are used.
    Raises `WeightsError` for whatever is wrong with it.
    """
    target = Target(dtype, device, keeps_packed)
    places = find_places(folder)
    clip_tokenizer, max_clip_tokens = load_clip_tokenizer(folder / "tokenizer")
    t5_tokenizer = load_t5_tokenizer(folder / "tokenizer_2")
    clip = build_clip(places[Component.CLIP], target)
    transformer = build_transformer(places[Component.TRANSFORMER], target)
    return Components(
        transformer=transformer,
        autoencoder=build_autoencoder(places[Component.AUTOENCODER], target),
        t5=build_t5(places[Component.T5], target),
        clip=clip,
        t5_tokenizer=t5_tokenizer,
        clip_tokenizer=clip_tokenizer,
        schedule=load_schedule(folder / "scheduler", transformer.params),
        max_clip_tokens=min(max_clip_tokens, clip.params.max_position_embeddings),
    )


def load_schedule(folder: Path, params: TransformerParams) -> ScheduleParams:
    """Without the folder, that of the published models: those that take guidance move with the picture's size."""
    if not folder.exists() and not (folder.parent / Component.TRANSFORMER).exists():
        return ScheduleParams(dynamic=params.guidance_embed)
    return read_schedule(ConfigFile.read(folder / "scheduler_config.json"))


def load_transformer(folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu") -> Flux:
    """The component in `transformer/`. Raises `WeightsError`, as do all of these."""
    return build_transformer(in_folder(folder), Target(dtype, device))


def load_autoencoder(folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu") -> Autoencoder:
    """The component in `vae/`."""
    return build_autoencoder(in_folder(folder), Target(dtype, device))


def load_t5(folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu") -> T5Encoder:
    """The component in `text_encoder_2/`."""
    return build_t5(in_folder(folder), Target(dtype, device))


def load_clip(folder: Path, dtype: torch.dtype, device: torch.device | str = "cpu") -> ClipTextEncoder:
    """The component in `text_encoder/`."""
    return build_clip(in_folder(folder), Target(dtype, device))


def build_transformer(place: Place, target: Target) -> Flux:
    """Raises `WeightsError`, as do all of these."""
    params = read_transformer(place.config) if place.config else measure_transformer(place.files)
    return build(lambda: Flux(params), place.files, transformer_layouts(params), target)


def build_autoencoder(place: Place, target: Target) -> Autoencoder:
    params = read_autoencoder(place.config) if place.config else measure_autoencoder(place.files)
    return build(lambda: Autoencoder(params), place.files, autoencoder_layouts(params), target)


def build_t5(place: Place, target: Target) -> T5Encoder:
    params = read_t5(place.config) if place.config else measure_t5(place.files)
    return build(lambda: T5Encoder(params), place.files, t5_layouts(), target)


def build_clip(place: Place, target: Target) -> ClipTextEncoder:
    params = read_clip(place.config) if place.config else measure_clip(place.files)
    return build(lambda: ClipTextEncoder(params), place.files, clip_layouts(), target)
