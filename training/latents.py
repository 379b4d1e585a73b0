"""Encodes the rendered pictures once, and fixes how latents are scaled.

    python -m training.latents --size 256x256

N pictures, C channels, h w latent positions. A part of those of one size, which processes can share, is
`<W>x<H>.<start>.pt`, N C h w, bfloat16 and unscaled; the first part also fixes `scale.json`, which every later stage
uses.
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
    """What the painter learns from, in one size: latents (N C h w, scaled, bfloat16), and the numbers of their pictures
    in the split (N)."""

    latents: Tensor
    numbers: Tensor
    split: Split

    def batch(self, size: int, rng: Generator) -> tuple[Tensor, list[str]]:
        """Some of the latents, float32, and a new caption for each."""
        chosen = rng.integers(len(self.latents), size=size)
        prompts = [caption(self.split.scene(int(self.numbers[index])), rng) for index in chosen]
        return self.latents[chosen].float(), prompts


def scaled_params(folder: Path = FOLDER) -> AutoencoderParams:
    """The autoencoder's numbers, with the shift and scale that make latents about unit normal."""
    return replace(PARAMS, **json.loads((folder / "scale.json").read_text()))


@torch.no_grad()
def encode(model: Autoencoder, split: Split, start: int, stop: int) -> Tensor:
    """-> N C h w, unscaled."""
    parts = []
    for first in range(start, stop, 8):
        pixels = as_tensor(split.pixels[first : min(first + 8, stop)])
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(model.encode(pixels).bfloat16())
    return torch.cat(parts)


def load_world(size: Size = NATIVE, folder: Path = FOLDER, *, in_memory: bool = False) -> World:
    """All parts there are. Raises `FileNotFoundError` where there is none."""
    params = scaled_params(folder)
    starts = sorted(int(path.suffixes[0][1:]) for path in folder.glob(f"{size_name(size)}.*.pt"))
    if not starts:
        raise FileNotFoundError(f"{folder} has no latents of {size_name(size)}; make them with training.latents")
    parts = [torch.load(folder / f"{size_name(size)}.{start}.pt", weights_only=True) for start in starts]
    numbers = torch.cat([torch.arange(first, first + len(part)) for first, part in zip(starts, parts, strict=True)])
    scaled = ((torch.cat(parts).float() - params.shift_factor) * params.scale_factor).bfloat16()
    return World(scaled, numbers, Split.open("train", size, in_memory=in_memory))


def write_scale(folder: Path, shift: float, scale: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scale.json").write_text(json.dumps({"shift_factor": shift, "scale_factor": scale}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "autoencoder.pt")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--size", type=parse_size, default=NATIVE, help="width x height in pixels")
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--stop", type=int, help="all that there are, if not given")
    options = parser.parse_args()
    split = Split.open("train", options.size)
    stop = len(split.pixels) if options.stop is None else options.stop
    latents = encode(load_averaged(options.checkpoint), split, options.start, stop)
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.save(latents, options.folder / f"{size_name(options.size)}.{options.start}.pt")
    if not (options.folder / "scale.json").exists():
        write_scale(options.folder, float(latents.float().mean()), 1.0 / float(latents.float().std()))
    print(f"{len(latents)} latents of {tuple(latents.shape[1:])}")


if __name__ == "__main__":
    main()
