"""Trains the KL autoencoder on random crops of the rendered pictures.

    python -m training.autoencoder --minutes 30

B pictures, H W pixels of a crop, h w latent positions.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.params import AutoencoderParams
from training import loop
from training.dataset import NATIVE, RUNS, Split, parse_size
from training.loop import Training, begin

PARAMS = AutoencoderParams(
    channels=(16, 32, 64, 128, 160), num_res_blocks=1, z_channels=32, norm_groups=8, scale_factor=1.0, shift_factor=0.0
)
KL_WEIGHT = 1e-5
OUTSIDE = ("conv_in", "conv_out")


def load_averaged(checkpoint: Path, params: AutoencoderParams = PARAMS) -> Autoencoder:
    model = Autoencoder(params)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["averaged"])
    return model.eval().requires_grad_(False)


def crops(splits: list[Split], batch: int, size: int, rng: Generator) -> Tensor:
    """Random crops of pictures of any of the splits, half of them mirrored -> B 3 size size in [-1, 1]."""
    parts = []
    for number in rng.integers(len(splits), size=batch):
        split = splits[number]
        height, width = split.pixels.shape[1:3]
        index = rng.integers(len(split.pixels))
        top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
        part = split.pixels[index, top : top + size, left : left + size]
        parts.append(part[:, ::-1] if rng.random() < 0.5 else part)
    return as_tensor(np.stack(parts))


def as_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 B H W 3 -> float B 3 H W in [-1, 1]."""
    return torch.from_numpy(np.array(pixels, order="C")).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def as_pixels(picture: Tensor) -> NDArray[np.uint8]:
    """B 3 H W in [-1, 1] -> uint8 B H W 3."""
    scaled = (picture.clamp(-1, 1) + 1) * 127.5
    return scaled.round().byte().permute(0, 2, 3, 1).numpy()


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def picture_loss(made: Tensor, real: Tensor) -> Tensor:
    """L1 of the pixels and of their differences to their neighbors, at full, half and quarter size."""
    loss = made.new_zeros(())
    for level in range(3):
        if level:
            made, real = F.avg_pool2d(made, 2), F.avg_pool2d(real, 2)
        loss = loss + F.l1_loss(made, real)
        for a, b in zip(edges(made), edges(real), strict=True):
            loss = loss + F.l1_loss(a, b)
    return loss


def kl_loss(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the unit normal, per latent value."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()


def step_loss(model: Autoencoder, pixels: Tensor) -> Tensor:
    with torch.autocast(pixels.device.type, torch.bfloat16):
        mean, log_variance = (part.float() for part in model.moments(pixels))
        sampled = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        made = model.decode(sampled).float()
    return picture_loss(made, pixels) + KL_WEIGHT * kl_loss(mean, log_variance)


@torch.no_grad()
def peak_signal_to_noise(model: Autoencoder, split: Split, count: int = 64) -> float:
    """Mean PSNR in decibels over the first pictures of a split, whole, encoded to the mean."""
    values = []
    for start in range(0, count, 8):
        pixels = as_tensor(split.pixels[start : start + 8])
        made = model.decode(model.encode(pixels)).clamp(-1, 1)
        error = (made - pixels).square().mean(dim=(1, 2, 3)) / 4.0
        values.append(-10.0 * torch.log10(error))
    return float(torch.cat(values).mean())


@torch.no_grad()
def sheet(model: Autoencoder, split: Split, count: int = 4) -> NDArray[np.uint8]:
    """The first pictures of a split, and below them what the model makes of them -> uint8 H W 3."""
    real = split.pixels[:count]
    made = as_pixels(model.decode(model.encode(as_tensor(real))))
    return np.concatenate([np.concatenate(list(row), axis=1) for row in (real, made)])


def run(training: Training[Autoencoder], next_loss: Callable[[], tuple[Tensor, int]]) -> None:
    """Trains the whole autoencoder or its decoder, and measures and shows it on held-out pictures."""
    heldout = Split.open("heldout")

    def quality(averaged: Autoencoder) -> str:
        return f"PSNR {peak_signal_to_noise(averaged, heldout, 16):.2f} dB"

    training.run(next_loss, lambda averaged: sheet(averaged, heldout), quality)
    print(f"PSNR {peak_signal_to_noise(training.averaged.model, heldout):.2f} dB of 64 held-out pictures")


def train(options: argparse.Namespace) -> None:
    begin(options)
    splits = [Split.open("train", size, in_memory=True) for size in options.sizes]
    model = Autoencoder(PARAMS).to(options.device)
    training = Training(model, options, OUTSIDE, weight_decay=1e-3)

    def next_loss() -> tuple[Tensor, int]:
        pixels = crops(splits, options.batch, options.crop, training.rng)
        return step_loss(model, pixels.to(options.device)), len(pixels)

    run(training, next_loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    loop.add_options(parser, RUNS / "autoencoder.pt", minutes=30.0, rate=2e-3)
    parser.add_argument("--sizes", type=parse_size, nargs="+", default=[NATIVE], help="of the pictures: 256x256 ...")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
