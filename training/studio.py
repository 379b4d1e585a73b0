"""Makes pictures from the checkpoints of a training that is still going on.

    python -m training.studio "A beautiful landscape with mountains and lake" --out picture.png

B pictures, H W pixels.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bildwerk.flux import sampling
from bildwerk.flux.autoencoder import Autoencoder
from training.autoencoder import as_pixels, load_averaged
from training.dataset import NATIVE, RUNS, Size, parse_size
from training.latents import FOLDER as LATENTS
from training.latents import scaled_params
from training.painter import Z_CHANNELS, Painter, load_painter
from training.tokens import T5_TOKENS

PROGRESS_PROMPTS = (
    "A beautiful landscape with mountains and lake",
    "a red cabin on the left in a green meadow, hills, day",
    "two blue boats on the ocean at sunset",
    "three pine trees and snowy mountains at night",
)


class Studio:
    """A painter and its autoencoder."""

    def __init__(self, painter: Painter, autoencoder: Autoencoder, text_tokens: int = T5_TOKENS) -> None:
        self.painter, self.autoencoder, self.text_tokens = painter.eval(), autoencoder, text_tokens

    @torch.no_grad()
    def paint(self, prompts: list[str], seeds: list[int], steps: int, size: Size = NATIVE) -> NDArray[np.uint8]:
        """-> uint8 B H W 3."""
        width, height = (side // self.autoencoder.params.downscale for side in size)
        noise = torch.cat([sampling.noise(seed, Z_CHANNELS, height, width) for seed in seeds])
        latents = self.painter.sample(prompts, noise, steps, self.text_tokens)
        return as_pixels(self.autoencoder.decode(latents))


def load_studio(flow: Path, autoencoder: Path, latents: Path, text_tokens: int = T5_TOKENS) -> Studio:
    return Studio(load_painter(flow), load_averaged(autoencoder, scaled_params(latents)), text_tokens)


def progress_sheet(options: argparse.Namespace) -> Callable[[Painter], NDArray[np.uint8]]:
    """-> what makes, of a painter in training, a few prompts' pictures, two seeds each: uint8 H W 3."""
    autoencoder = load_averaged(options.autoencoder, scaled_params(options.latents))
    prompts = [prompt for prompt in PROGRESS_PROMPTS for _ in range(2)]

    def sheet(painter: Painter) -> NDArray[np.uint8]:
        studio = Studio(painter, autoencoder, options.text_tokens)
        return tiled(studio.paint(prompts, list(range(len(prompts))), options.steps), 4)

    return sheet


def add_options(parser: argparse.ArgumentParser, steps: int) -> None:
    """For `progress_sheet`."""
    parser.add_argument("--autoencoder", type=Path, default=RUNS / "autoencoder.pt", help="paints the progress")
    parser.add_argument("--steps", type=int, default=steps, help="of the pictures that show the progress")


def tiled(pictures: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """uint8 (rows columns) H W 3 -> one picture, row by row."""
    rows = [np.concatenate(list(pictures[i : i + columns]), axis=1) for i in range(0, len(pictures), columns)]
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--flow", type=Path, default=RUNS / "flow.pt")
    parser.add_argument("--autoencoder", type=Path, default=RUNS / "decoder.pt")
    parser.add_argument("--latents", type=Path, default=LATENTS)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--size", type=parse_size, default=NATIVE, help="width x height in pixels")
    parser.add_argument("--text-tokens", type=int, default=T5_TOKENS)
    parser.add_argument("--out", type=Path, default=RUNS / "studio.png")
    options = parser.parse_args()
    torch.set_num_threads(1)
    studio = load_studio(options.flow, options.autoencoder, options.latents, options.text_tokens)
    seeds = list(range(options.seeds))
    rows = [studio.paint([p] * len(seeds), seeds, options.steps, options.size) for p in options.prompts]
    Image.fromarray(tiled(np.concatenate(rows), len(seeds))).save(options.out)


if __name__ == "__main__":
    main()
