"""What every training needs: a learning-rate schedule over wall-clock time, averaged weights, resumable checkpoints."""

import copy
import time
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

WARM_UP = 0.03  # share of the budget


class Schedule:
    """Warm-up, a constant rate, and a straight decay over the last share, in a budget of seconds rather than of steps.

    With a `decay` of 0 a training can be stopped and resumed at will; one with a decay of 1 then ends it.
    Source: Haegele et al., "Scaling laws and compute-optimal training beyond fixed training durations" (2024).
    """

    def __init__(self, seconds: float, decay: float = 1.0) -> None:
        self.seconds = seconds
        self.decay = decay
        self.began = time.monotonic()

    def progress(self) -> float:
        """The share of the budget that is spent; the training ends at 1."""
        return (time.monotonic() - self.began) / self.seconds

    def factor(self, progress: float) -> float:
        """What the learning rate is multiplied by: at most 1; a thousandth remains at the end of a decay."""
        left = 1.0 - min(1.0, progress)
        falling = 1.0 if left >= self.decay else max(1e-3, left / self.decay)
        return min((progress + 1e-3) / WARM_UP, falling, 1.0)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


Model = TypeVar("Model", bound=nn.Module)


class Averaged(Generic[Model]):
    """An exponential moving average of a model's weights."""

    def __init__(self, model: Model, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.updates += 1
        share = 1.0 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(mine, theirs, share)


def save_checkpoint(path: Path, step: int, model: Model, averaged: Averaged[Model], *optimizers: Optimizer) -> None:
    """Writes beside the target first: a crash leaves the checkpoint before this one."""
    state = {
        "step": step,
        "model": model.state_dict(),
        "averaged": averaged.model.state_dict(),
        "updates": averaged.updates,
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    torch.save(state, beside)
    beside.replace(path)


def load_checkpoint(path: Path, model: Model, averaged: Averaged[Model], *optimizers: Optimizer) -> int:
    """Resumes where the file left off and returns the step reached; 0 if there is no file."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    averaged.model.load_state_dict(state["averaged"])
    averaged.updates = state["updates"]
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=False):
        optimizer.load_state_dict(saved)
    return int(state["step"])
