"""Encodes the rendered pictures once, each as it is and mirrored, and measures the latents' mean and spread.

    python -m training.latents

N pictures, C channels, h w latent positions. `latents.pt` holds `latents` (2N C h w, bfloat16, scaled; the mirrored
ones follow the others) and the `shift_factor` and `scale_factor` that they are scaled by.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.params import AutoencoderParams
from training.autoencoder import PARAMS, as_tensor
from training.dataset import RUNS, Split


def load_autoencoder(checkpoint: Path, params: AutoencoderParams = PARAMS) -> Autoencoder:
    model = Autoencoder(params)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["averaged"])
    return model.eval().requires_grad_(False)


@torch.no_grad()
def encode(model: Autoencoder, split: Split, count: int) -> Tensor:
    """-> 2 count, C, h, w: unscaled."""
    plain, mirrored = [], []
    for start in range(0, count, 16):
        pixels = as_tensor(split.pixels[start : min(start + 16, count)])
        with torch.autocast("cpu", torch.bfloat16):
            plain.append(model.encode(pixels).float())
            mirrored.append(model.encode(pixels.flip(-1)).float())
    return torch.cat(plain + mirrored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "autoencoder.pt")
    parser.add_argument("--out", type=Path, default=RUNS / "latents.pt")
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    latents = encode(load_autoencoder(options.checkpoint), Split.open("train"), options.count)
    shift, scale = float(latents.mean()), 1.0 / float(latents.std())
    scaled = ((latents - shift) * scale).bfloat16()
    torch.save({"latents": scaled, "shift_factor": shift, "scale_factor": scale}, options.out)
    print(f"{len(scaled)} latents of {tuple(scaled.shape[1:])}, shift {shift:.4f}, scale {scale:.4f}")
    print("spread by channel:", scaled.float().std(dim=(0, 2, 3)).sort().values)


def scaled_params(latents: Path) -> AutoencoderParams:
    saved = torch.load(latents, weights_only=True, mmap=True)
    return replace(PARAMS, shift_factor=saved["shift_factor"], scale_factor=saved["scale_factor"])


if __name__ == "__main__":
    main()
