"""Goes on training the autoencoder's decoder alone: the latent space stays, the pictures get crisper.

    python -m training.decoder --minutes 60

It learns from the cached latents, so it can run beside the training of the flow. B pictures, C channels, h w latent
positions.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from bildwerk.flux.autoencoder import Autoencoder
from training import loop
from training.autoencoder import OUTSIDE, as_tensor, load_averaged, picture_loss, run
from training.dataset import NATIVE, RUNS, parse_size
from training.latents import FOLDER as LATENTS
from training.latents import World, load_world, scaled_params
from training.loop import Training, begin


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
    begin(options)
    model = load_averaged(options.start, scaled_params(options.latents)).to(options.device)
    model.decoder.requires_grad_(True)
    training = Training(model, options, OUTSIDE, weight_decay=1e-3, part=model.decoder)
    worlds = [load_world(size, options.latents, in_memory=True) for size in options.sizes]

    def next_loss() -> tuple[Tensor, int]:
        latents, pixels = windows(worlds[training.step % len(worlds)], options.batch, options.span, training.rng)
        return step_loss(model, latents.to(options.device), pixels.to(options.device)), len(pixels)

    run(training, next_loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    loop.add_options(parser, RUNS / "decoder.pt", minutes=60.0, rate=1.5e-3, seed=3)
    parser.add_argument("--start", type=Path, default=RUNS / "autoencoder.pt", help="the autoencoder to begin with")
    parser.add_argument("--latents", type=Path, default=LATENTS)
    parser.add_argument("--sizes", type=parse_size, nargs="+", default=[NATIVE], help="of the pictures: 256x256 ...")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--span", type=int, default=8, help="side of a window in latent positions")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
