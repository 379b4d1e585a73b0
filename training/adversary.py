"""The discriminator in training: how it learns, and what it makes the painter learn.

Sources: Huang et al., "The GAN is dead; long live the GAN! A modern GAN baseline" (2024), for the relativistic loss and
a penalty on drawn and painted pictures alike; Lin et al., "Diffusion adversarial post-training for one-step video
generation" (2025), for taking that penalty from differences. B batch, C channels, h w latent positions, K attributes.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training import replicas
from training.discriminator import Discriminator, Verdict, misreading
from training.loop import GRADIENT_LIMIT

JITTER = 0.1
"""Noise, in standard deviations of the latents, that must hardly change an opinion."""
BLUR = 0.4
"""Up to so much more noise is in what the discriminator learns to read from."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Of drawn pictures: latents B C h w, prompts, and the prompts' labels B K as the discriminator wants them."""

    latents: Tensor
    prompts: list[str]
    labels: Tensor


class Adversary:
    """Resumes from its own file beside the painter's checkpoint."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.discriminator = Discriminator().to(options.device)
        parameters = self.discriminator.parameters()
        self.optimizer = torch.optim.AdamW(parameters, options.discriminator_rate, betas=(0.0, 0.99))
        self.penalty = options.penalty / JITTER**2
        self.file: Path = options.checkpoint.with_suffix(".discriminator.pt")
        self.is_new = not self.file.exists()
        if not self.is_new:
            state = torch.load(self.file, weights_only=True)
            self.discriminator.load_state_dict(state["discriminator"])
            self.optimizer.load_state_dict(state["optimizer"])

    def save(self) -> None:
        beside = self.file.with_suffix(".partial")
        state = {"discriminator": self.discriminator.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save(state, beside)
        beside.replace(self.file)

    def learn_to_read(self, drawn: Drawn) -> float:
        """One step. -> the misreading."""
        strength = JITTER + BLUR * torch.rand(len(drawn.prompts), 1, 1, 1, device=drawn.latents.device)
        loss = misreading(self._see(noisy(drawn.latents, strength), drawn.labels), drawn.labels)
        self._descend(loss)
        return float(loss.detach())

    def learn_to_tell(self, drawn: Drawn, painted: Tensor) -> tuple[float, float]:
        """One step against latents painted for the same prompts. -> share of right verdicts, and the misreading."""
        painted, labels = painted.detach(), drawn.labels
        real, made = self._see(drawn.latents, labels), self._see(painted, labels)
        near_real = self._see(noisy(drawn.latents, JITTER), labels)
        near_made = self._see(noisy(painted, JITTER), labels)
        lead = real.realness - made.realness
        change = squared_change(real, near_real) + squared_change(made, near_made)
        reading = misreading(near_real, labels)
        self._descend(F.softplus(-lead).mean() + self.penalty * change + reading)
        return float((lead > 0).float().mean()), float(reading.detach())

    def losses(self, drawn: Drawn, painted: Tensor) -> tuple[Tensor, Tensor]:
        """-> for the painter: how much more real the drawn looks, and the misreading of what is painted."""
        with frozen(self.discriminator):
            made, real = self._see(painted, drawn.labels), self._see(drawn.latents, drawn.labels)
        return F.softplus(real.realness - made.realness).mean(), misreading(made, drawn.labels)

    def _see(self, latents: Tensor, labels: Tensor) -> Verdict:
        with torch.autocast(latents.device.type, torch.bfloat16):
            verdict: Verdict = self.discriminator(latents, labels)
        return verdict

    def _descend(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        parameters = list(self.discriminator.parameters())
        replicas.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, GRADIENT_LIMIT)
        self.optimizer.step()


def noisy(latents: Tensor, strength: float | Tensor) -> Tensor:
    return latents + strength * torch.randn_like(latents)


def squared_change(verdict: Verdict, near: Verdict) -> Tensor:
    return (verdict.realness - near.realness).square().mean()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Gradients pass through it, and none are kept for its parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
