"""A small classifier that reads the attributes off a picture, to measure whether prompts are followed.

    python -m training.judge

It is trained on a split of its own, and no training of the painter uses it. B pictures, S its side in pixels.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training.autoencoder import as_tensor
from training.dataset import RUNS, Split
from training.scenes import ATTRIBUTES

SIDE = 96
FEATURES = 128
HELD_OUT = 500


class Judge(nn.Module):
    """Plain strided convolutions with batch norm, then one linear head an attribute."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 64, 96, FEATURES)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.mix = nn.Linear(9 * FEATURES, FEATURES)
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, len(values)) for name, values in ATTRIBUTES.items()})

    def features(self, pixels: Tensor) -> Tensor:
        """pixels: B 3 S S in [-1, 1] -> B FEATURES."""
        return F.relu(self.mix(self.body(pixels).flatten(1)))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """-> for each attribute the logits of its values, B V."""
        features = self.features(pixels)
        return [head(features) for head in self.heads.values()]


def seen(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 B H W 3 of any size -> what the judge looks at: B 3 S S."""
    return F.interpolate(as_tensor(pixels), (SIDE, SIDE), mode="area")


def roughened(pixels: Tensor) -> Tensor:
    """Mirrored, blurred or made noisy at random, so that the judge does not lean on what a decoder smooths away."""
    if torch.rand(()) < 0.5:
        pixels = pixels.flip(-1)
    if torch.rand(()) < 0.5:
        pixels = F.interpolate(F.avg_pool2d(pixels, 2), (SIDE, SIDE), mode="bilinear")
    return pixels + 0.05 * torch.rand(()) * torch.randn_like(pixels)


@torch.no_grad()
def accuracy(judge: Judge, pixels: Tensor, labels: Tensor) -> dict[str, float]:
    guesses = [logits.argmax(dim=1) for logits in judge.eval()(pixels)]
    shares = (torch.stack(guesses, dim=1) == labels).float().mean(dim=0)
    return dict(zip(ATTRIBUTES, shares.tolist(), strict=True))


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    split = Split.open("judge")
    labels = torch.from_numpy(split.labels).long()
    pixels = torch.cat([seen(split.pixels[i : i + 100]) for i in range(0, len(split.pixels), 100)])
    judge = Judge()
    total = options.epochs * (len(pixels) - HELD_OUT) // options.batch
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=total)
    for step in range(total):
        chosen = torch.randint(HELD_OUT, len(pixels), (options.batch,))
        scores = judge.train()(roughened(pixels[chosen]))
        loss = torch.stack([F.cross_entropy(s, labels[chosen, i]) for i, s in enumerate(scores)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step} of {total}, loss {loss.item():.4f}", flush=True)
    print("held out:", accuracy(judge, pixels[:HELD_OUT], labels[:HELD_OUT]))
    torch.save(judge.state_dict(), options.checkpoint)


def load_judge(checkpoint: Path = RUNS / "judge.pt") -> Judge:
    judge = Judge()
    judge.load_state_dict(torch.load(checkpoint, weights_only=True))
    return judge.eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "judge.pt")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--seed", type=int, default=77)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
