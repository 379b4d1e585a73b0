"""Encodes the rendered pictures once, and fixes how latents are scaled.

    python -m training.latents --size 256x256

N pictures, C channels, h w latent positions. Those of one size are `<W>x<H>.pt`, N C h w, bfloat16 and unscaled; the
first size to be encoded also fixes `scale.json`, which every later stage uses.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from numpy.random import Generator
from torch import Tensor

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.params import AutoencoderParams
from training.autoencoder import PARAMS, as_tensor, load_averaged
from training.captions import caption
from training.dataset import NATIVE, RUNS, Size, Split, parse_size, size_name

FOLDER = RUNS / "latents"


@dataclass(frozen=True, slots=True)
class World:
    """What the painter learns from, in one size: latents (N C h w, scaled, bfloat16), and what is in each picture."""

    latents: Tensor
    split: Split

    def batch(self, size: int, rng: Generator) -> tuple[Tensor, list[str]]:
        """Some of the latents, float32, and a new caption for each."""
        chosen = rng.integers(len(self.latents), size=size)
        prompts = [caption(self.split.scene(int(index)), rng) for index in chosen]
        return self.latents[chosen].float(), prompts


def scaled_params(folder: Path = FOLDER) -> AutoencoderParams:
    """The autoencoder's numbers, with the shift and scale that make latents about unit normal."""
    return replace(PARAMS, **json.loads((folder / "scale.json").read_text()))


@torch.no_grad()
def encode(model: Autoencoder, split: Split) -> Tensor:
    """-> N C h w, unscaled."""
    parts = []
    for first in range(0, len(split.pixels), 8):
        pixels = as_tensor(split.pixels[first : first + 8])
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(model.encode(pixels).bfloat16())
    return torch.cat(parts)


def load_world(size: Size = NATIVE, folder: Path = FOLDER) -> World:
    params = scaled_params(folder)
    unscaled = torch.load(folder / f"{size_name(size)}.pt", weights_only=True, mmap=True)
    scaled = ((unscaled.float() - params.shift_factor) * params.scale_factor).bfloat16()
    return World(scaled, Split.open("train", size))


def write_scale(folder: Path, shift: float, scale: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scale.json").write_text(json.dumps({"shift_factor": shift, "scale_factor": scale}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "autoencoder.pt")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--size", type=parse_size, default=NATIVE, help="width x height in pixels")
    options = parser.parse_args()
    latents = encode(load_averaged(options.checkpoint), Split.open("train", options.size))
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.save(latents, options.folder / f"{size_name(options.size)}.pt")
    if not (options.folder / "scale.json").exists():
        write_scale(options.folder, float(latents.float().mean()), 1.0 / float(latents.float().std()))
    print(f"{len(latents)} latents of {tuple(latents.shape[1:])}")


if __name__ == "__main__":
    main()
