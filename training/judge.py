"""A small classifier that reads the attributes off a picture, to measure whether prompts are followed.

    python -m training.judge

It is trained on splits of its own, and no training of the painter uses it. It is a plain network of strided
convolutions, unlike any of the painter's. B pictures, S its side in pixels.
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
from training.dataset import RUNS, Size, Split, parse_size
from training.places import PLACES
from training.scenes import ATTRIBUTES

SIDE = 128
FEATURES = 128
HELD_OUT_SHARE = 0.1
SIZES: tuple[Size, ...] = ((256, 256), (512, 512), (384, 256), (256, 384))
PLACED = [number for number, values in enumerate(ATTRIBUTES.values()) if values == PLACES]
SIDES = torch.tensor([PLACES.index({"left": "right", "right": "left"}.get(place, place)) for place in PLACES])
"""What each place becomes in a mirrored picture."""


class Judge(nn.Module):
    """Strided convolutions with batch norm, a linear layer that knows where, and one linear head an attribute."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 80, 112, FEATURES)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.mix = nn.Linear((SIDE // 32) ** 2 * FEATURES, FEATURES)
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
    parts = [pixels[start : start + 64] for start in range(0, len(pixels), 64)]
    return torch.cat([F.interpolate(as_tensor(part), (SIDE, SIDE), mode="area") for part in parts])


def mirrored(labels: Tensor) -> Tensor:
    """labels: B attributes -> those of the pictures' mirror images."""
    labels = labels.clone()
    labels[:, PLACED] = SIDES[labels[:, PLACED]]
    return labels


def roughened(pixels: Tensor) -> Tensor:
    """Blurred or made noisy at random, so that the judge does not lean on what a decoder smooths away."""
    if torch.rand(()) < 0.4:
        pixels = F.interpolate(F.avg_pool2d(pixels, 2), (SIDE, SIDE), mode="bilinear")
    return pixels + 0.05 * torch.rand(()) * torch.randn_like(pixels)


@torch.no_grad()
def guesses(judge: Judge, pixels: Tensor) -> Tensor:
    """-> B attributes: the index of the likeliest value of each."""
    parts = [judge(part) for part in pixels.split(64)]
    return torch.cat([torch.stack([scores.argmax(dim=1) for scores in part], dim=1) for part in parts])


def accuracy(judge: Judge, pixels: Tensor, labels: Tensor) -> dict[str, float]:
    shares = (guesses(judge.eval(), pixels) == labels).float().mean(dim=0)
    return dict(zip(ATTRIBUTES, shares.tolist(), strict=True))


def load_pictures(sizes: list[Size]) -> tuple[Tensor, Tensor, Tensor]:
    """-> what is seen of all pictures, bfloat16; their labels; and whether each is held out."""
    splits = [Split.open("judge", size) for size in sizes]
    pixels = torch.cat([seen(split.pixels).bfloat16() for split in splits])
    labels = torch.cat([torch.from_numpy(split.labels).long() for split in splits])
    held_out = torch.cat([torch.arange(len(s.labels)) < HELD_OUT_SHARE * len(s.labels) for s in splits])
    return pixels, labels, held_out


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    pixels, labels, held_out = load_pictures(options.sizes)
    known = (~held_out).nonzero().flatten()
    judge = Judge()
    total = options.epochs * len(known) // options.batch
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=total)
    for step in range(total):
        chosen = known[torch.randint(len(known), (options.batch,))]
        batch, wanted = pixels[chosen].float(), labels[chosen]
        if torch.rand(()) < 0.5:
            batch, wanted = batch.flip(-1), mirrored(wanted)
        with torch.autocast("cpu", torch.bfloat16):
            scores = judge.train()(roughened(batch))
        loss = torch.stack([F.cross_entropy(s.float(), wanted[:, i]) for i, s in enumerate(scores)]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step} of {total}, loss {loss.item():.4f}", flush=True)
    shares = accuracy(judge, pixels[held_out].float(), labels[held_out])
    print(f"right about {100 * np.mean(list(shares.values())):.1f} % of {int(held_out.sum())} held-out pictures:")
    print(", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items()))
    torch.save(judge.state_dict(), options.checkpoint)


def load_judge(checkpoint: Path = RUNS / "judge.pt") -> Judge:
    judge = Judge()
    judge.load_state_dict(torch.load(checkpoint, weights_only=True))
    return judge.eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "judge.pt")
    parser.add_argument("--sizes", type=parse_size, nargs="+", default=list(SIZES))
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--seed", type=int, default=77)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
