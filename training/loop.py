"""What every stage does: minimize a loss until the minutes are spent, keep checkpoints, and show how it goes.

A stage that is started again goes on from its checkpoint. On a CPU two replicas of one thread each beat one of two:
see `replicas`.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training import replicas
from training.checkpoint import Averaged, Schedule, load_checkpoint, save_checkpoint, set_rate
from training.muon import optimizers
from training.progress import Progress

Model = TypeVar("Model", bound=nn.Module)
GRADIENT_LIMIT = 1.0


def begin(options: argparse.Namespace) -> None:
    """Before the model is made: joins the replicas, and gives all of them the same first weights."""
    replicas.join()
    torch.manual_seed(options.seed)


class Training(Generic[Model]):
    """Of one model, or of a part of it. `outside` names the parameters that are not hidden matrices (see `muon`)."""

    def __init__(
        self,
        model: Model,
        options: argparse.Namespace,
        outside: Sequence[str],
        weight_decay: float,
        part: nn.Module | None = None,
    ) -> None:
        self.model = model
        self.part = model if part is None else part
        self.options = options
        self.averaged = Averaged(model, options.average)
        self.pair = optimizers(self.part, tuple(outside), weight_decay)
        resumed = () if options.restart_optimizer else self.pair
        self.step = load_checkpoint(options.checkpoint, model, self.averaged, *resumed)
        rank = replicas.rank()
        torch.manual_seed(options.seed + 1000 * self.step + rank)  # from here on, other pictures and other noise
        self.rng = np.random.default_rng((options.seed, self.step, rank))
        self.is_first = rank == 0

    def run(
        self,
        next_loss: Callable[[], tuple[Tensor, int]],
        show: Callable[[Model], NDArray[np.uint8]],
        quality: Callable[[Model], str] | None = None,
    ) -> None:
        """next_loss: -> the loss of a new batch, and how many pictures it has; show, quality: of the averaged model."""
        options, schedule = self.options, Schedule(self.options.minutes * 60, self.options.decay)
        progress = Progress(options.checkpoint, options.report)
        while (spent := replicas.agree(schedule.progress())) < 1.0:
            self._set_rates(schedule.factor(spent))
            loss, pictures = next_loss()
            self._descend(loss)
            self.step += 1
            progress.add(loss.item(), pictures)
            if self.is_first and progress.is_due:
                self._save()
                progress.report(self.step, quality(self.averaged.model) if quality else "")
                progress.show(show(self.averaged.model))
        if self.is_first:
            self._save()

    def _set_rates(self, factor: float) -> None:
        rates = (self.options.rate, self.options.outer_rate or self.options.rate)
        for optimizer, rate in zip(self.pair, rates, strict=True):
            set_rate(optimizer, rate * factor)

    def _descend(self, loss: Tensor) -> None:
        self.model.zero_grad()
        loss.backward()
        replicas.average_gradients(self.part.parameters())
        torch.nn.utils.clip_grad_norm_(self.part.parameters(), GRADIENT_LIMIT)
        for optimizer in self.pair:
            optimizer.step()
        self.averaged.update(self.model)

    def _save(self) -> None:
        save_checkpoint(self.options.checkpoint, self.step, self.model, self.averaged, *self.pair)


def add_options(
    parser: argparse.ArgumentParser,
    checkpoint: Path,
    *,
    minutes: float,
    rate: float,
    outer_rate: float | None = None,
    average: float = 0.995,
    seed: int = 0,
) -> None:
    parser.add_argument("--checkpoint", type=Path, default=checkpoint)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--decay", type=float, default=1.0, help="share of the minutes in which the rate falls")
    parser.add_argument("--report", type=float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--rate", type=float, default=rate, help="of the hidden matrices")
    parser.add_argument(
        "--outer-rate", type=float, default=outer_rate, help="of everything else; the same if not given"
    )
    parser.add_argument("--average", type=float, default=average, help="share of the averaged weights that stays")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--restart-optimizer", action="store_true", help="forget the momentum of the checkpoint")
