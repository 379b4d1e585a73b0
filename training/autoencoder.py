"""Trains the KL autoencoder on random crops of the rendered pictures.

    python -m training.autoencoder --minutes 30

B pictures, H W pixels of a crop, h w latent positions.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.params import AutoencoderParams
from training import replicas
from training.checkpoint import Averaged, Schedule, load_checkpoint, save_checkpoint, set_rate
from training.dataset import NATIVE, RUNS, Split, parse_size
from training.muon import optimizers

PARAMS = AutoencoderParams(
    channels=(16, 32, 64, 128, 160), num_res_blocks=1, z_channels=32, norm_groups=8, scale_factor=1.0, shift_factor=0.0
)
KL_WEIGHT = 1e-5


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


def train(options: argparse.Namespace) -> None:
    rank = replicas.join()
    torch.manual_seed(options.seed)  # the same first weights in every replica, then other crops and other noise
    splits = [Split.open("train", size, in_memory=True) for size in options.sizes]
    heldout = Split.open("heldout")
    model = Autoencoder(PARAMS).to(options.device)
    averaged = Averaged(model, options.average)
    pair = optimizers(model, ("conv_in", "conv_out"), weight_decay=1e-3)
    first = load_checkpoint(options.checkpoint, model, averaged, *(() if options.restart_optimizer else pair))
    torch.manual_seed(options.seed + 1000 * first + rank)
    rng = np.random.default_rng((options.seed, first, rank))
    schedule = Schedule(options.minutes * 60)
    step, began, reported = first, time.monotonic(), time.monotonic()
    while (progress := replicas.agree(schedule.progress())) < 1.0:
        for optimizer in pair:
            set_rate(optimizer, options.rate * schedule.factor(progress))
        pixels = crops(splits, options.batch, options.crop, rng).to(options.device)
        loss = step_loss(model, pixels)
        model.zero_grad()
        loss.backward()
        replicas.average_gradients(model.parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in pair:
            optimizer.step()
        averaged.update(model)
        step += 1
        if rank == 0 and time.monotonic() - reported > options.report:
            speed = (step - first) * options.batch / (time.monotonic() - began)
            quality = peak_signal_to_noise(averaged.model, heldout, 16)
            print(f"step {step} loss {loss.item():.4f} PSNR {quality:.2f} dB, {speed:.1f} crops/s", flush=True)
            save_checkpoint(options.checkpoint, step, model, averaged, *pair)
            reported = time.monotonic()
    if rank == 0:
        save_checkpoint(options.checkpoint, step, model, averaged, *pair)
        print(f"step {step} PSNR {peak_signal_to_noise(averaged.model, heldout):.2f} dB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "autoencoder.pt")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--report", type=float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--sizes", type=parse_size, nargs="+", default=[NATIVE], help="of the pictures: 256x256 ...")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--average", type=float, default=0.995)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restart-optimizer", action="store_true")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
