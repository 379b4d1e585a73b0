"""From prompt and noise to pixels, against `diffusers.FluxPipeline`, through a saved folder and our loader."""

from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline
from torch import Tensor

from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.sampling import denoise, noise, pack, position_ids, timesteps, unpack
from bildwerk.weights.load import Components, load_components
from tests.parity.references import AUTOENCODER, BF16_BAR, PIPELINE_BAR, relative_error
from tests.parity.tiny_pipeline import TEXT_TOKENS, tiny_pipeline

PROMPTS = ["the cat and a dog", "A Cat, 12 dogs; ‘ünïcode’ and far more words than fit into sixteen tokens of text"]
SEEDS = [7, 2**32 - 1]
GUIDANCE = 3.5
HEIGHT, WIDTH, STEPS = 24, 40, 4
VARIANTS = {
    "schnell": {},
    "dev": {"guidance": True, "dynamic": True},
    "dynamic shift without guidance": {"dynamic": True},
}


def theirs(pipeline: FluxPipeline, output_type: str) -> Tensor:
    return pipeline(
        PROMPTS,
        height=HEIGHT,
        width=WIDTH,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in SEEDS],
        max_sequence_length=TEXT_TOKENS,
        output_type=output_type,
    ).images


def latents(components: Components) -> Tensor:
    """Packed, B L 4C."""
    flux = components.transformer
    height, width = HEIGHT // AUTOENCODER.downscale, WIDTH // AUTOENCODER.downscale
    dtype = flux.img_in.weight.dtype
    txt = components.t5(torch.tensor(components.t5_tokenizer.encode(PROMPTS, TEXT_TOKENS).ids))
    pooled = components.clip(torch.tensor(components.clip_tokenizer.encode(PROMPTS, components.max_clip_tokens).ids))
    x_t = pack(torch.cat([noise(seed, AUTOENCODER.z_channels, height, width) for seed in SEEDS]))
    times = timesteps(STEPS, x_t.shape[1], components.schedule)
    guidance = torch.full((len(PROMPTS),), GUIDANCE) if flux.params.guidance_embed else None
    modulations = flux.modulation(torch.tensor(times[:-1])[:, None].expand(-1, len(PROMPTS)), pooled, guidance)
    rotary = rotary_embedding(position_ids(TEXT_TOKENS, height, width), flux.params)
    *_, last = denoise(flux, x_t, txt=txt.to(dtype), rotary=rotary, modulations=modulations, times=times)
    return last.x_t


def pixels(components: Components, packed: Tensor) -> Tensor:
    """B 3 H W in [0, 1], as diffusers returns them."""
    height, width = HEIGHT // AUTOENCODER.downscale, WIDTH // AUTOENCODER.downscale
    unpacked = unpack(packed, height, width).to(components.transformer.img_in.weight.dtype)
    return (components.autoencoder.decode(unpacked).float() / 2 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_pictures_agree(variant: dict[str, bool], tmp_path: Path) -> None:
    pipeline = tiny_pipeline(**variant)
    pipeline.save_pretrained(tmp_path)
    components = load_components(tmp_path, torch.float32)
    packed = latents(components)
    assert relative_error(packed, theirs(pipeline, "latent")) <= PIPELINE_BAR
    assert relative_error(pixels(components, packed), theirs(pipeline, "pt")) <= PIPELINE_BAR


def test_bfloat16_pictures_are_close_to_float32(tmp_path: Path) -> None:
    pipeline = tiny_pipeline()
    pipeline.save_pretrained(tmp_path)
    assert relative_error(latents(load_components(tmp_path, torch.bfloat16)), theirs(pipeline, "latent")) <= BF16_BAR
