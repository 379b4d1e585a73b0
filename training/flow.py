"""Trains the flow transformer and both text encoders together, by rectified flow on the cached latents.

    python -m training.flow --minutes 60

x_t = (1 - t) * latents + t * noise, and the velocity is noise - latents. Captions are made anew for every picture that
a step sees, and each step is of one size. B batch, C channels, h w latent positions.
"""

import argparse
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bildwerk.flux import sampling
from training import replicas
from training.buckets import add_options, open_buckets
from training.checkpoint import Averaged, Schedule, load_checkpoint, save_checkpoint, set_rate
from training.dataset import RUNS
from training.latents import FOLDER as LATENTS
from training.muon import optimizers
from training.painter import Painter

OUTSIDE = ("img_in", "txt_in", "time_in", "vector_in", "mod", "final_layer", "embedding", "shared", "attention_bias")
UNIFORM_SHARE = 0.3
NOISY = 0.4


def times(batch: int) -> Tensor:
    """Logit-normal, more of them noisy, where the prompt decides most; with a share of uniform ones for both ends."""
    middle = torch.sigmoid(torch.randn(batch) + NOISY)
    return torch.where(torch.rand(batch) < UNIFORM_SHARE, torch.rand(batch), middle)


def attention_of(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU the backward pass of fused attention takes five times as long as its products written out."""
    if device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def flow_loss(painter: Painter, latents: Tensor, prompts: list[str], text_tokens: int) -> Tensor:
    height, width = latents.shape[-2:]
    noise = torch.randn_like(latents)
    t = times(len(latents)).to(latents.device)
    x_t = latents + t[:, None, None, None] * (noise - latents)
    with torch.autocast(latents.device.type, torch.bfloat16), attention_of(latents.device):
        condition = painter.condition(prompts, text_tokens)
        rotary = painter.rotary(text_tokens, height, width)
        velocity = painter.velocity(sampling.pack(x_t), t, condition, rotary)
    return F.mse_loss(velocity.float(), sampling.pack(noise - latents))


def train(options: argparse.Namespace) -> None:
    rank = replicas.join()
    torch.manual_seed(options.seed)
    buckets = open_buckets(options)
    painter = Painter().to(options.device)
    averaged = Averaged(painter, options.average)
    pair = optimizers(painter, OUTSIDE, weight_decay=0.01)
    first = load_checkpoint(options.checkpoint, painter, averaged, *(() if options.restart_optimizer else pair))
    torch.manual_seed(options.seed + 1000 * first + rank)
    rng = np.random.default_rng((options.seed, first, rank))
    if options.compile:
        painter.flow.compile(dynamic=False)
    schedule = Schedule(options.minutes * 60, options.decay)
    step, seen, began, reported, losses = first, 0, time.monotonic(), time.monotonic(), []
    while (progress := replicas.agree(schedule.progress())) < 1.0:
        for optimizer, rate in zip(pair, (options.rate, options.outer_rate), strict=True):
            set_rate(optimizer, rate * schedule.factor(progress))
        pictures, prompts = buckets.next(rng)
        loss = flow_loss(painter, pictures.to(options.device), prompts, options.text_tokens)
        painter.zero_grad()
        loss.backward()
        replicas.average_gradients(painter.parameters())
        torch.nn.utils.clip_grad_norm_(painter.parameters(), 1.0)
        for optimizer in pair:
            optimizer.step()
        averaged.update(painter)
        step, seen = step + 1, seen + len(prompts)
        losses.append(loss.item())
        if rank == 0 and time.monotonic() - reported > options.report:
            speed = seen / (time.monotonic() - began)
            print(f"step {step} loss {np.mean(losses):.4f}, {speed:.1f} pictures/s a replica", flush=True)
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
    parser.add_argument("--decay", type=float, default=1.0, help="share of the minutes in which the rate falls")
    parser.add_argument("--compile", action="store_true", help="by Inductor: a minute for each size, then faster")
    parser.add_argument("--rate", type=float, default=2e-3, help="of the hidden matrices")
    parser.add_argument("--outer-rate", type=float, default=1e-3, help="of everything else")
    parser.add_argument("--average", type=float, default=0.995)
    parser.add_argument("--text-tokens", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    add_options(parser, tokens=7000)
    parser.add_argument("--restart-optimizer", action="store_true")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
