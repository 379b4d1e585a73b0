"""Encodes the rendered pictures once, in parts that processes can share, and fixes how latents are scaled.

    python -m training.latents --start 0 --stop 10000

N pictures, C channels, h w latent positions. Each part is `<start>.pt`, N C h w, bfloat16 and unscaled; the first part
also fixes `scale.json`, which every later stage uses.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.params import AutoencoderParams
from training.autoencoder import PARAMS, as_tensor, load_averaged
from training.dataset import RUNS, Split

FOLDER = RUNS / "latents"


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


def load_latents(folder: Path = FOLDER) -> tuple[Tensor, Tensor]:
    """All parts there are -> latents, N C h w, scaled, bfloat16; and the number of each one's picture, N."""
    params = scaled_params(folder)
    starts = sorted(int(path.stem) for path in folder.glob("*.pt"))
    parts = [torch.load(folder / f"{start}.pt", weights_only=True) for start in starts]
    numbers = [torch.arange(start, start + len(part)) for start, part in zip(starts, parts, strict=True)]
    scaled = (torch.cat(parts).float() - params.shift_factor) * params.scale_factor
    return scaled.bfloat16(), torch.cat(numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "autoencoder.pt")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--stop", type=int, default=10_000)
    options = parser.parse_args()
    latents = encode(load_averaged(options.checkpoint), Split.open("train"), options.start, options.stop)
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.save(latents, options.folder / f"{options.start}.pt")
    if options.start == 0:
        scale = {"shift_factor": float(latents.float().mean()), "scale_factor": 1.0 / float(latents.float().std())}
        (options.folder / "scale.json").write_text(json.dumps(scale))
    print(f"{len(latents)} latents of {tuple(latents.shape[1:])}")


if __name__ == "__main__":
    main()
