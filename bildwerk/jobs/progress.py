"""What is going on right now, kept in memory only: how far a batch is, and who waits for which prediction to end.

The truth is in the database. Losing all of this loses nothing but a little time: whoever waits, reads again.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """`done` of `total` units of a stage: 'encode', 'denoise' or 'decode'."""

    name: str
    done: int
    total: int


class ProgressHub:
    """To be used from the event loop's thread alone. `streams` counts open event streams by account."""

    def __init__(self) -> None:
        self.streams: Counter[str] = Counter()
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._following: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._stages: dict[str, Stage] = {}
        self.is_closing = False

    def close(self) -> None:
        """The service is about to stop: nobody is to wait any longer, neither those that do now nor those to come."""
        self.is_closing = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    @contextmanager
    def watch(self, prediction_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when something has become of the prediction. Start watching before reading it."""
        with listed(self._waiting, prediction_id) as event:
            yield event

    @contextmanager
    def follow(self, prediction_id: str) -> Iterator[asyncio.Event]:
        """An event that is set by every step as well."""
        with listed(self._waiting, prediction_id) as event:
            self._following[prediction_id].add(event)
            try:
                yield event
            finally:
                discard(self._following, prediction_id, event)

    def changed(self, prediction_id: str) -> None:
        """Its status may be another now: whoever waits for that reads it again."""
        self._stages.pop(prediction_id, None)
        for event in self._waiting.get(prediction_id, ()):
            event.set()

    def report(self, prediction_id: str, stage: Stage) -> None:
        self._stages[prediction_id] = stage
        for event in self._following.get(prediction_id, ()):
            event.set()

    def stage(self, prediction_id: str) -> Stage | None:
        return self._stages.get(prediction_id)


@contextmanager
def listed(events: dict[str, set[asyncio.Event]], prediction_id: str) -> Iterator[asyncio.Event]:
    """A new event, listed for as long as the block runs."""
    event = asyncio.Event()
    events[prediction_id].add(event)
    try:
        yield event
    finally:
        discard(events, prediction_id, event)


def discard(events: dict[str, set[asyncio.Event]], prediction_id: str, event: asyncio.Event) -> None:
    events[prediction_id].discard(event)
    if not events[prediction_id]:
        del events[prediction_id]
