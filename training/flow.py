"""Trains the flow transformer and both text encoders together, by rectified flow on the cached latents.

    python -m training.flow --minutes 60

x_t = (1 - t) * latents + t * noise, and the velocity is noise - latents. Captions are made anew for every picture that
a step sees. B batch, C channels, h w latent positions.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from bildwerk.flux import sampling
from training import replicas
from training.captions import caption
from training.checkpoint import Averaged, Schedule, load_checkpoint, save_checkpoint, set_rate
from training.dataset import RUNS, Split
from training.latents import FOLDER as LATENTS
from training.latents import load_latents
from training.muon import optimizers
from training.painter import Painter

OUTSIDE = ("img_in", "txt_in", "time_in", "vector_in", "mod", "final_layer", "embedding", "shared", "attention_bias")
UNIFORM_SHARE = 0.3
NOISY = 0.4


def times(batch: int) -> Tensor:
    """Logit-normal, more of them noisy, where the prompt decides most; with a share of uniform ones for both ends."""
    middle = torch.sigmoid(torch.randn(batch) + NOISY)
    return torch.where(torch.rand(batch) < UNIFORM_SHARE, torch.rand(batch), middle)


def flow_loss(painter: Painter, latents: Tensor, prompts: list[str], text_tokens: int) -> Tensor:
    height, width = latents.shape[-2:]
    noise = torch.randn_like(latents)
    t = times(len(latents)).to(latents.device)
    x_t = latents + t[:, None, None, None] * (noise - latents)
    with torch.autocast(latents.device.type, torch.bfloat16):
        condition = painter.condition(prompts, text_tokens)
        rotary = painter.rotary(text_tokens, height, width)
        velocity = painter.velocity(sampling.pack(x_t), t, condition, rotary)
    return F.mse_loss(velocity.float(), sampling.pack(noise - latents))


def batch_of(world: tuple[Tensor, Tensor], split: Split, size: int, rng: Generator) -> tuple[Tensor, list[str]]:
    """world: latents, and the numbers of their pictures -> some of the latents, and a new caption for each."""
    latents, numbers = world
    chosen = rng.integers(len(latents), size=size)
    prompts = [caption(split.scene(int(numbers[index])), rng) for index in chosen]
    return latents[chosen].float(), prompts


def train(options: argparse.Namespace) -> None:
    rank = replicas.join()
    torch.manual_seed(options.seed)
    world, split = load_latents(options.latents), Split.open("train")
    painter = Painter().to(options.device)
    averaged = Averaged(painter, options.average)
    pair = optimizers(painter, OUTSIDE, weight_decay=0.01)
    first = load_checkpoint(options.checkpoint, painter, averaged, *(() if options.restart_optimizer else pair))
    torch.manual_seed(options.seed + 1000 * first + rank)
    rng = np.random.default_rng((options.seed, first, rank))
    schedule = Schedule(options.minutes * 60)
    step, began, reported, losses = first, time.monotonic(), time.monotonic(), []
    while (progress := replicas.agree(schedule.progress())) < 1.0:
        for optimizer, rate in zip(pair, (options.rate, options.outer_rate), strict=True):
            set_rate(optimizer, rate * schedule.factor(progress))
        pictures, prompts = batch_of(world, split, options.batch, rng)
        loss = flow_loss(painter, pictures.to(options.device), prompts, options.text_tokens)
        painter.zero_grad()
        loss.backward()
        replicas.average_gradients(painter.parameters())
        torch.nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
        for optimizer in pair:
            optimizer.step()
        averaged.update(painter)
        step += 1
        losses.append(loss.item())
        if rank == 0 and time.monotonic() - reported > options.report:
            speed = (step - first) * options.batch / (time.monotonic() - began)
            print(f"step {step} loss {np.mean(losses):.4f}, {speed:.1f} pictures/s", flush=True)
            save_checkpoint(options.checkpoint, step, painter, averaged, *pair)
            reported, losses = time.monotonic(), []
    if rank == 0:
        save_checkpoint(options.checkpoint, step, painter, averaged, *pair)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "flow.pt")
    parser.add_argument("--latents", type=Path, default=LATENTS)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--report", type=float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3, help="of the hidden matrices")
    parser.add_argument("--outer-rate", type=float, default=1e-3, help="of everything else")
    parser.add_argument("--average", type=float, default=0.995)
    parser.add_argument("--text-tokens", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--restart-optimizer", action="store_true")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
