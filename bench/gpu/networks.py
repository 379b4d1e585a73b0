"""FLUX.1 [schnell] in its real shapes, or in tiny ones, with seeded random weights made where they are needed.

The weights preserve variance (standard deviation fan_in^-1/2, modulation biases 0.7).  With default ones the blocks
nearly do nothing, and an accuracy that is measured on them says nothing; zeros would even be faster than real weights.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux

M = TypeVar("M", bound=nn.Module)

EMBEDDING = re.compile(r".*(shared|embedding|relative_attention_bias)\.weight")
MODULATION_BIAS = re.compile(r".*(_mod|modulation)\.(lin|1)\.bias")
T5_KEY_WIDTH = 64
T5_QUERY = re.compile(r".*SelfAttention\.q\.weight")


@dataclass(frozen=True, slots=True)
class Networks:
    """All that paints, apart from the tokenizers."""

    transformer: Flux
    t5: T5Encoder
    clip: ClipTextEncoder
    autoencoder: Autoencoder


@dataclass(frozen=True, slots=True)
class Shapes:
    """All numbers of one model, and the side in pixels of its usual picture."""

    transformer: TransformerParams
    t5: T5Params
    clip: ClipParams
    autoencoder: AutoencoderParams
    text_tokens: int
    clip_tokens: int
    side: int


REAL = Shapes(TransformerParams(), T5Params(), ClipParams(), AutoencoderParams(), 256, 77, 1024)
TINY = Shapes(
    TransformerParams(
        in_channels=16,
        out_channels=16,
        vec_in_dim=32,
        context_in_dim=64,
        hidden_size=64,
        num_heads=2,
        depth=2,
        depth_single_blocks=3,
        axes_dim=(8, 12, 12),
    ),
    T5Params(vocab_size=128, d_model=64, d_kv=16, d_ff=64, num_layers=2, num_heads=4),
    ClipParams(vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2),
    AutoencoderParams(channels=(16, 32), z_channels=4, norm_groups=8, num_res_blocks=1),
    text_tokens=16,
    clip_tokens=16,
    side=32,
)


def networks(shapes: Shapes, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Networks:
    return Networks(
        _random(lambda: Flux(shapes.transformer), device, dtype, seed),
        _random(lambda: T5Encoder(shapes.t5), device, dtype, seed + 1),
        _random(lambda: ClipTextEncoder(shapes.clip), device, dtype, seed + 2),
        _random(lambda: Autoencoder(shapes.autoencoder), device, dtype, seed + 3),
    )


def on_meta(build: Callable[[], M], dtype: torch.dtype) -> M:
    """The module without memory: shapes and types only."""
    with torch.device("meta"):
        return build().to(dtype).eval().requires_grad_(False)


def _random(build: Callable[[], M], device: torch.device, dtype: torch.dtype, seed: int) -> M:
    return randomize(on_meta(build, dtype).to_empty(device=device), seed)


@torch.no_grad()
def randomize(module: M, seed: int) -> M:
    """The same values at each call with one seed on one kind of device."""
    for name, parameter in module.named_parameters():
        generator = torch.Generator(parameter.device).manual_seed(seed)
        parameter.normal_(_mean(name, parameter), _deviation(name, parameter), generator=generator)
        seed += 1000
    return module.eval().requires_grad_(False)


def _mean(name: str, parameter: Tensor) -> float:
    is_gain = parameter.ndim == 1 and name.endswith(("weight", "scale"))
    return float(is_gain)


def _deviation(name: str, parameter: Tensor) -> float:
    if parameter.ndim == 1:
        return 0.7 if MODULATION_BIAS.fullmatch(name) else 0.1
    if EMBEDDING.fullmatch(name):
        return 1.0
    fan_in = parameter[0].numel()
    if T5_QUERY.fullmatch(name):
        fan_in *= T5_KEY_WIDTH  # its attention has no scale, so the weights carry one
    return float(fan_in**-0.5)


def twin(networks: Networks) -> Networks:
    """A second set of modules on the very same tensors, so that one can be changed and the other stays as written."""
    return Networks(
        shared(networks.transformer, lambda: Flux(networks.transformer.params)),
        shared(networks.t5, lambda: T5Encoder(networks.t5.params)),
        shared(networks.clip, lambda: ClipTextEncoder(networks.clip.params)),
        shared(networks.autoencoder, lambda: Autoencoder(networks.autoencoder.params)),
    )


def shared(original: M, build: Callable[[], M]) -> M:
    """A new module with the original's own tensors."""
    with torch.device("meta"):
        module = build()
    module.load_state_dict(original.state_dict(), assign=True)
    return module.eval().requires_grad_(False)
