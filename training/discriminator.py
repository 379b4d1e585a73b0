"""Tells painted latents from those of drawn pictures, and reads off them what is in the picture.

It sees latents only, never pixels, so that it shares nothing with the judge. B batch, C channels, h w latent positions,
K attributes, V values of one, P opinions on one picture, F features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.painter import Z_CHANNELS
from training.scenes import ATTRIBUTES

WIDTHS = (96, 160, 224)
GRID = 4
FEATURES = 192
LEAK = 0.2
UNTOLD = 0
"""The label of an attribute that the prompt may have left open; those of the values begin at 1."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """realness: B P, of every part of the picture and as often of the whole; readings: B V logits an attribute."""

    realness: Tensor
    readings: list[Tensor]


class Residual(nn.Module):
    """Two convolutions beside the identity, which they begin as."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.second(F.leaky_relu(self.first(F.leaky_relu(x, LEAK)), LEAK))
        return x + inner


class Discriminator(nn.Module):
    """Convolutions without normalization, at three resolutions. Zero padding tells them where they are.

    Whether the picture is what was asked for counts into the whole's realness, by projection.
    Source: Miyato and Koyama, "cGANs with projection discriminator" (2018).
    """

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.fine = nn.Sequential(nn.Conv2d(Z_CHANNELS, fine, 3, padding=1), Residual(fine))
        self.middle = nn.Sequential(nn.Conv2d(fine, middle, 4, stride=2, padding=1), Residual(middle))
        self.coarse = nn.Sequential(nn.Conv2d(middle, coarse, 4, stride=2, padding=1), Residual(coarse))
        self.parts = nn.Conv2d(middle, 1, 1)
        self.mix = nn.Linear(coarse * GRID * GRID, FEATURES)
        self.whole = nn.Linear(FEATURES, 1)
        self.labels = nn.ModuleList([nn.Embedding(len(values) + 1, FEATURES) for values in ATTRIBUTES.values()])
        self.heads = nn.ModuleList([nn.Linear(FEATURES, len(values)) for values in ATTRIBUTES.values()])

    def forward(self, latents: Tensor, labels: Tensor) -> Verdict:
        """latents: B C h w; labels: B K, each `UNTOLD` or 1 + the index of the value."""
        middle = self.middle(self.fine(latents))
        parts = self.parts(F.leaky_relu(middle, LEAK)).flatten(1)
        coarse = F.adaptive_avg_pool2d(F.leaky_relu(self.coarse(middle), LEAK), GRID)
        features = F.leaky_relu(self.mix(coarse.flatten(1)), LEAK)
        asked = torch.stack([table(labels[:, i]) for i, table in enumerate(self.labels)]).sum(dim=0)
        fit = (asked * features).sum(dim=1, keepdim=True) / FEATURES**0.5
        whole = self.whole(features) + fit
        realness = torch.cat([parts, whole.expand_as(parts)], dim=1)
        return Verdict(realness.float(), [head(features).float() for head in self.heads])


def misreading(verdict: Verdict, labels: Tensor) -> Tensor:
    """Mean cross entropy, in nats, of the attributes that are told; labels: B K as above. 0 where none is."""
    values = labels - 1
    losses = [
        F.cross_entropy(reading, values[:, i], ignore_index=UNTOLD - 1, reduction="sum")
        for i, reading in enumerate(verdict.readings)
    ]
    return torch.stack(losses).sum() / (labels != UNTOLD).sum().clamp(min=1)
