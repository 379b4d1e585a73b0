"""Toy networks whose heads and rows the kernels know."""

from dataclasses import replace

from bench.gpu.networks import TINY

WIDE_HEADS = replace(
    TINY,
    transformer=replace(TINY.transformer, hidden_size=192, num_heads=3, axes_dim=(8, 28, 28)),
    autoencoder=replace(TINY.autoencoder, channels=(16, 32), num_res_blocks=2),
)
