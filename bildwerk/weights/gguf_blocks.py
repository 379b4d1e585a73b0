"""The block encodings of GGUF files, decoded for all blocks of a tensor at once.

n blocks.  Each function takes uint8 n block_bytes and gives float32 n values, of which it never holds two copies: a
GPU has to have room for them beside a step.
Source: ggml-org/ggml, `ggml-common.h` (the blocks' fields) and `ggml-quants.c` (their meaning).
"""

import torch
from torch import Tensor

from bildwerk.weights.gguf_header import BLOCKS
from bildwerk.weights.packed import Encoding

SUB_BLOCKS = 8
"""In a super-block of Q4_K and Q5_K: 32 values each, with a scale and a minimum of 6 bits."""


def _half(two_bytes: Tensor) -> Tensor:
    """n 2 -> n 1."""
    return two_bytes.contiguous().view(torch.float16).float()


def _nibbles(packed: Tensor) -> Tensor:
    """n b -> n 2 b: all low halves, then all high halves."""
    return torch.cat([packed & 0x0F, packed >> 4], dim=-1)


def decode_q8_0(blocks: Tensor) -> Tensor:
    """A half, 32 signed bytes."""
    return blocks[:, 2:].view(torch.int8).float().mul_(_half(blocks[:, :2]))


def decode_q4_0(blocks: Tensor) -> Tensor:
    """A half, 32 nibbles offset by 8."""
    return _nibbles(blocks[:, 2:]).float().sub_(8).mul_(_half(blocks[:, :2]))


def _scales_and_minima(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """The start of a Q4_K or Q5_K block -> what a sub-block's values are multiplied by and what is taken off: n 8 1.

    Two halves (the scale of the scales and that of the minima), then 12 bytes with eight 6-bit scales and minima: the
    first four of each in the low six bits of bytes 0-3 and 4-7; of the last four the low bits in the nibbles of bytes
    8-11, and the high two in the two high bits of bytes 0-3 and 4-7.
    """
    low, middle, high = blocks[:, 4:8], blocks[:, 8:12], blocks[:, 12:16]
    scales = torch.cat([low & 0x3F, (high & 0x0F) | ((low >> 6) << 4)], dim=-1)
    minima = torch.cat([middle & 0x3F, (high >> 4) | ((middle >> 6) << 4)], dim=-1)
    scale, minimum = _half(blocks[:, 0:2]) * scales.float(), _half(blocks[:, 2:4]) * minima.float()
    return scale.unsqueeze(-1), minimum.unsqueeze(-1)


def _sub_block_nibbles(packed: Tensor) -> Tensor:
    """n 128 -> n 8 32: each 32 bytes are the low halves of one sub-block and the high halves of the next."""
    return _nibbles(packed.reshape(-1, 4, 32)).reshape(-1, SUB_BLOCKS, 32)


def decode_q4_k(blocks: Tensor) -> Tensor:
    """Scales and minima in 16 bytes, 256 nibbles."""
    scale, minimum = _scales_and_minima(blocks)
    return _sub_block_nibbles(blocks[:, 16:]).float().mul_(scale).sub_(minimum).flatten(1)


def decode_q5_k(blocks: Tensor) -> Tensor:
    """Scales and minima in 16 bytes, the fifth bits in 32 (bit s of byte i belongs to value i of sub-block s),
    256 nibbles."""
    scale, minimum = _scales_and_minima(blocks)
    sub_block = torch.arange(SUB_BLOCKS, dtype=torch.uint8, device=blocks.device).unsqueeze(-1)
    fifth = (blocks[:, None, 16:48] >> sub_block) & 1
    values = _sub_block_nibbles(blocks[:, 48:]) | (fifth << 4)
    return values.float().mul_(scale).sub_(minimum).flatten(1)


def decode_q6_k(blocks: Tensor) -> Tensor:
    """128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales (one for 16 values each), a half."""
    low = _nibbles(blocks[:, :128].unflatten(-1, (2, 64))).unflatten(-1, (4, 32))  # n 2 4 32
    shift = torch.arange(0, 8, 2, dtype=torch.uint8, device=blocks.device).unsqueeze(-1)
    high = (blocks[:, 128:192].unflatten(-1, (2, 1, 32)) >> shift) & 3
    values = (low | (high << 4)).flatten(1).float().sub_(32)
    scale = _half(blocks[:, 208:210]) * blocks[:, 192:208].view(torch.int8).float()
    return torch.flatten(values.reshape(-1, 16, 16).mul_(scale.unsqueeze(-1)), 1)


DECODERS = {
    "Q8_0": decode_q8_0,
    "Q4_0": decode_q4_0,
    "Q4_K": decode_q4_k,
    "Q5_K": decode_q5_k,
    "Q6_K": decode_q6_k,
}
GGUF_ENCODINGS = {name: Encoding(*BLOCKS[name], decode) for name, decode in DECODERS.items()}
