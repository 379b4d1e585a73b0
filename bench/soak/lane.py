"""What every lane of faults does: read its limits, go on until they are reached or something broke, keep numbers."""

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.circumstances import circumstances
from bench.soak.disk import NoDisk
from bench.soak.orders import OrderBook
from bench.soak.record import finish
from bench.soak.recovery import statuses
from tests.live_service import LiveService


@dataclass
class Course:
    """One run of a lane in a folder of its own: so long, so often, with these chances; and what came of it."""

    folder: Path
    rounds: int
    minutes: float
    seed: int
    book: OrderBook = field(default_factory=OrderBook)
    breaches: list[str] = field(default_factory=list)
    ended: dict[str, int] = field(default_factory=dict)
    done: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self._started = time.monotonic()

    def numbered(self) -> Iterator[int]:
        """Each round by its number, until one broke something."""
        while self.done < self.rounds and time.monotonic() - self._started < self.minutes * 60 and not self.breaches:
            yield self.done
            self.done += 1

    def take_down(self, service: LiveService) -> None:
        """How everything ended."""
        self.ended = dict(Counter(statuses(service).values()))

    def numbers(self, **own: Any) -> dict[str, Any]:
        """own: what only this lane counts."""
        return {
            "seed": self.seed,
            **own,
            "acknowledged": len(self.book.acknowledged),
            "answers": {str(status): count for status, count in sorted(self.book.statuses.items())},
            "ended": self.ended,
            "breaches": self.breaches,
            "broken": len(self.breaches),
            "seconds": round(time.monotonic() - self._started, 1),
        }


def perform(lane: str, what: str, run: Callable[[Course], dict[str, Any]], *, rounds: int, minutes: float) -> None:
    """rounds, minutes: where the command line says nothing. Ends the process with the breaches, if there are any."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.soak.{lane}", description=f"The lane of {what}.")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--folder", type=Path, help="where everything lies while it runs")
    options = parser.parse_args()
    before = circumstances()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        try:
            numbers = run(Course(Path(folder), options.rounds, options.minutes, options.seed))
        except NoDisk as reason:
            print(f"skipped: this machine does not let us have the disk that it takes: {reason}")
            return
    finish(lane, what, before, numbers)
