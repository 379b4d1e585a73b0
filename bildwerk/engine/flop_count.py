"""The arithmetic of one picture, counted from shapes: two operations a multiply-add of matrix products, attention and
convolutions. Everything else is a per mille of it.

C hidden size, M MLP size, N image tokens, L text tokens.
"""

from itertools import pairwise

from bildwerk.engine.networks import ModelShapes
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams


def picture_flops(shapes: ModelShapes, height: int, width: int, steps: int, text_tokens: int) -> int:
    """height and width in pixels, both multiples of what the model paints in."""
    patch = 2 * shapes.autoencoder.downscale
    tokens = (height // patch) * (width // patch)
    return (
        steps * step_flops(shapes.transformer, tokens, text_tokens)
        + t5_flops(shapes.t5, text_tokens)
        + clip_flops(shapes.clip)
        + decode_flops(shapes.autoencoder, height, width)
    )


def step_flops(params: TransformerParams, image_tokens: int, text_tokens: int) -> int:
    """Both kinds of block cost the same: q, k, v and output projections, and the two layers of the MLP."""
    c, m, tokens = params.hidden_size, params.mlp_hidden_dim, image_tokens + text_tokens
    blocks = params.depth + params.depth_single_blocks
    block = 2 * tokens * (4 * c * c + 2 * c * m) + 4 * tokens * tokens * c
    modulation = 2 * c * c * (12 * params.depth + 3 * params.depth_single_blocks + 2)
    ends = image_tokens * (params.in_channels + params.out_channels) + text_tokens * params.context_in_dim
    return blocks * block + modulation + 2 * c * ends


def t5_flops(params: T5Params, tokens: int) -> int:
    inner = params.num_heads * params.d_kv
    products = 2 * tokens * params.d_model * (4 * inner + 3 * params.d_ff)
    return params.num_layers * (products + 4 * tokens * tokens * inner)


def clip_flops(params: ClipParams) -> int:
    tokens, c = params.max_position_embeddings, params.hidden_size
    products = 2 * tokens * c * (4 * c + 2 * params.intermediate_size)
    return params.num_hidden_layers * (products + 4 * tokens * tokens * c)


def decode_flops(params: AutoencoderParams, height: int, width: int) -> int:
    """The decoder's way from the coarsest level to the finest."""
    channels, last = params.channels, params.channels[-1]
    pixels = (height // params.downscale) * (width // params.downscale)
    flops = _conv(params.z_channels, last, pixels) + 2 * _resnet(last, last, pixels)
    flops += 2 * pixels * 4 * last * last + 4 * pixels * pixels * last
    for level, (out, coarser) in reversed(list(enumerate(pairwise((*channels, last))))):
        widths = [coarser] + [out] * (params.num_res_blocks + 1)
        flops += sum(_resnet(a, b, pixels) for a, b in pairwise(widths))
        if level:
            pixels *= 4
            flops += _conv(out, out, pixels)
    return flops + _conv(channels[0], params.out_channels, pixels)


def _conv(inputs: int, outputs: int, pixels: int, side: int = 3) -> int:
    return 2 * inputs * outputs * side * side * pixels


def _resnet(inputs: int, outputs: int, pixels: int) -> int:
    shortcut = _conv(inputs, outputs, pixels, side=1) if inputs != outputs else 0
    return _conv(inputs, outputs, pixels) + _conv(outputs, outputs, pixels) + shortcut
