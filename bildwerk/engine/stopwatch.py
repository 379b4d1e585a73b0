"""Seconds by stage."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Times stages and stands still between them. A stage that is run again is booked anew."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = self._now()
        yield
        self.seconds[name] = self._now() - started

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items. The stage is the time that they take to come, all together, not what is done with them."""
        total, started = 0.0, self._now()
        for item in items:
            total += self._now() - started
            yield item
            started = self._now()
        self.seconds[name] = total + self._now() - started
