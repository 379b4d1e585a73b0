"""Small twins of FLUX in diffusers and transformers, our modules with the same weights, and how to compare them.

The weights preserve variance (standard deviation fan_in^-1/2, modulation biases 0.7): with default ones the blocks
nearly do nothing, and a model whose attention and MLP weights are all zero would pass.
"""

import re
from dataclasses import asdict
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.layouts import autoencoder_layouts, clip_layouts, t5_layouts, transformer_layouts
from bildwerk.weights.mapping import Layout

FP32_BAR = 1e-5
PIPELINE_BAR = 1e-4
BF16_BAR = 0.02
GUTTED_BAR = 0.5

TRANSFORMER = TransformerParams(
    in_channels=16,
    out_channels=16,
    vec_in_dim=24,
    context_in_dim=40,
    hidden_size=96,
    num_heads=3,
    depth=2,
    depth_single_blocks=3,
    axes_dim=(8, 12, 12),
)
AUTOENCODER = AutoencoderParams(channels=(16, 32, 48), z_channels=4, norm_groups=8)
T5 = T5Params(vocab_size=120, d_model=40, d_kv=12, d_ff=72, num_layers=3, num_heads=4)
CLIP = ClipParams(vocab_size=120, hidden_size=24, intermediate_size=56, num_hidden_layers=3, num_attention_heads=3)

M = TypeVar("M", bound=nn.Module)
EMBEDDING = re.compile(r"(shared|.*embed_tokens|.*embedding|.*relative_attention_bias)\.weight")
MODULATION_BIAS = re.compile(r".*(norm1|norm1_context|norm|norm_out)\.linear\.bias")
"""By the names that diffusers gives to them."""


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm of what is expected."""
    assert actual.shape == expected.shape
    return ((actual.double() - expected.double()).norm() / expected.double().norm()).item()


@torch.no_grad()
def randomize(module: M, seed: int = 0) -> M:
    """The module, ready for inference, with variance-preserving random weights."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        parameter.copy_(_random(name, parameter, generator))
    return module.eval().requires_grad_(False)


def _random(name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(parameter.shape, generator=generator)
    if MODULATION_BIAS.fullmatch(name):
        return 0.7 * drawn
    if parameter.ndim == 1:
        is_gain = name.endswith("weight")
        return is_gain + 0.1 * drawn
    return drawn if EMBEDDING.fullmatch(name) else drawn * parameter[0].numel() ** -0.5


def reference_transformer(params: TransformerParams, seed: int = 0) -> FluxTransformer2DModel:
    return randomize(
        FluxTransformer2DModel(
            patch_size=1,
            in_channels=params.in_channels,
            num_layers=params.depth,
            num_single_layers=params.depth_single_blocks,
            attention_head_dim=params.head_dim,
            num_attention_heads=params.num_heads,
            joint_attention_dim=params.context_in_dim,
            pooled_projection_dim=params.vec_in_dim,
            guidance_embeds=params.guidance_embed,
            axes_dims_rope=params.axes_dim,
        ),
        seed,
    )


def reference_autoencoder(params: AutoencoderParams) -> AutoencoderKL:
    levels = len(params.channels)
    return randomize(
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=params.channels,
            layers_per_block=params.num_res_blocks,
            latent_channels=params.z_channels,
            norm_num_groups=params.norm_groups,
            scaling_factor=params.scale_factor,
            shift_factor=params.shift_factor,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
    )


def reference_t5(params: T5Params) -> T5EncoderModel:
    return randomize(T5EncoderModel(T5Config(**asdict(params), feed_forward_proj="gated-gelu")))


def reference_clip(params: ClipParams) -> CLIPTextModel:
    return randomize(CLIPTextModel(CLIPTextConfig(**asdict(params))))


def twin_transformer(reference: nn.Module, params: TransformerParams) -> Flux:
    return _twin(reference, Flux(params), transformer_layouts(params)[0])


def twin_autoencoder(reference: nn.Module, params: AutoencoderParams) -> Autoencoder:
    return _twin(reference, Autoencoder(params), autoencoder_layouts(params)[0])


def twin_t5(reference: nn.Module, params: T5Params) -> T5Encoder:
    return _twin(reference, T5Encoder(params), t5_layouts()[0])


def twin_clip(reference: nn.Module, params: ClipParams) -> ClipTextEncoder:
    return _twin(reference, ClipTextEncoder(params), clip_layouts()[1])


def _twin(reference: nn.Module, ours: M, layout: Layout) -> M:
    theirs = reference.state_dict()
    rows = layout.expand(ours.state_dict()).rows
    ours.load_state_dict({row.target: row.to_target([theirs[source] for source in row.sources]) for row in rows})
    return ours.eval().requires_grad_(False)
