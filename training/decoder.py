"""Goes on training the autoencoder's decoder alone: the latent space stays, the pictures get crisper.

    python -m training.decoder --minutes 60

It learns from the cached latents, so it can run beside the training of the flow. B pictures, C channels, h w latent
positions.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from bildwerk.flux.autoencoder import Autoencoder
from training.autoencoder import as_tensor, load_averaged, peak_signal_to_noise, picture_loss
from training.checkpoint import Averaged, Schedule, load_checkpoint, save_checkpoint, set_rate
from training.dataset import NATIVE, RUNS, Split, parse_size
from training.latents import FOLDER as LATENTS
from training.latents import World, load_world, scaled_params
from training.muon import optimizers


def windows(world: World, batch: int, span: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """Windows of span x span latent positions, B C span span, and the pixels that belong to them."""
    latents, drawn = world.latents, world.split.pixels
    scale = drawn.shape[1] // latents.shape[-2]
    pieces, pixels = [], []
    for index in rng.integers(len(latents), size=batch):
        y, x = (int(rng.integers(side - span + 1)) for side in latents.shape[-2:])
        pieces.append(latents[index, :, y : y + span, x : x + span])
        rows, columns = (slice(start * scale, (start + span) * scale) for start in (y, x))
        pixels.append(drawn[int(world.numbers[index]), rows, columns])
    return torch.stack(pieces).float(), as_tensor(np.stack(pixels))


def step_loss(model: Autoencoder, latents: Tensor, pixels: Tensor) -> Tensor:
    with torch.autocast(pixels.device.type, torch.bfloat16):
        made = model.decode(latents)
    return picture_loss(made.float(), pixels)


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    model = load_averaged(options.start, scaled_params(options.latents)).to(options.device)
    model.decoder.requires_grad_(True)
    averaged = Averaged(model, options.average)
    pair = optimizers(model.decoder, ("conv_in", "conv_out"), weight_decay=1e-3)
    first = load_checkpoint(options.checkpoint, model, averaged, *pair)
    rng = np.random.default_rng((options.seed, first))
    worlds = [load_world(size, options.latents, in_memory=True) for size in options.sizes]
    heldout = Split.open("heldout")
    schedule = Schedule(options.minutes * 60)
    step, began, reported = first, time.monotonic(), time.monotonic()
    while (progress := schedule.progress()) < 1.0:
        for optimizer in pair:
            set_rate(optimizer, options.rate * schedule.factor(progress))
        latents, pixels = windows(worlds[step % len(worlds)], options.batch, options.span, rng)
        loss = step_loss(model, latents.to(options.device), pixels.to(options.device))
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.decoder.parameters(), 1.0)
        for optimizer in pair:
            optimizer.step()
        averaged.update(model)
        step += 1
        if time.monotonic() - reported > options.report:
            speed = (step - first) * options.batch / (time.monotonic() - began)
            quality = peak_signal_to_noise(averaged.model, heldout, 16)
            print(f"step {step} loss {loss.item():.4f} PSNR {quality:.2f} dB, {speed:.1f} windows/s", flush=True)
            save_checkpoint(options.checkpoint, step, model, averaged, *pair)
            reported = time.monotonic()
    save_checkpoint(options.checkpoint, step, model, averaged, *pair)
    print(f"step {step} PSNR {peak_signal_to_noise(averaged.model, heldout):.2f} dB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, default=RUNS / "autoencoder.pt", help="the autoencoder to begin with")
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "decoder.pt")
    parser.add_argument("--latents", type=Path, default=LATENTS)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--report", type=float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--sizes", type=parse_size, nargs="+", default=[NATIVE], help="of the pictures: 256x256 ...")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--span", type=int, default=8, help="side of a window in latent positions")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--average", type=float, default=0.995)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=3)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
