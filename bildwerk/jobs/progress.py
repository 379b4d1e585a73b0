"""What is going on right now, kept in memory only: how far a batch is, and who waits for which prediction to end.

The truth is in the database. Losing all of this loses nothing but a little time: whoever waits, reads again.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bildwerk.domain.prediction import Prediction


@dataclass(frozen=True, slots=True)
class Stage:
    """`done` of `total` units of a stage: 'encode', 'denoise' or 'decode'."""

    name: str
    done: int
    total: int


class News(asyncio.Event):
    """Set when something may have become of a prediction; `ended` is the whole of it, where its end is known here."""

    ended: Prediction | None = None


class ProgressHub:
    """To be used from the event loop's thread alone. `streams` counts open event streams by account."""

    def __init__(self) -> None:
        self.streams: Counter[str] = Counter()
        self._waiting: dict[str, set[News]] = defaultdict(set)
        self._following: dict[str, set[News]] = defaultdict(set)
        self._stages: dict[str, Stage] = {}
        self.is_closing = False

    def close(self) -> None:
        """The service is about to stop: nobody is to wait any longer, neither those that do now nor those to come."""
        self.is_closing = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    @contextmanager
    def watch(self, prediction_id: str) -> Iterator[News]:
        """An event that is set when something has become of the prediction. Start watching before reading it."""
        with listed(self._waiting, prediction_id) as event:
            yield event

    @contextmanager
    def follow(self, prediction_id: str) -> Iterator[News]:
        """An event that is set by every step as well."""
        with listed(self._waiting, prediction_id) as event:
            self._following[prediction_id].add(event)
            try:
                yield event
            finally:
                discard(self._following, prediction_id, event)

    def changed(self, prediction_id: str, ended: Prediction | None = None) -> None:
        """Its status may be another now: whoever waits for that reads it again, or takes it as it has `ended`."""
        self._stages.pop(prediction_id, None)
        for event in self._waiting.get(prediction_id, ()):
            event.ended = ended
            event.set()

    def report(self, prediction_id: str, stage: Stage) -> None:
        self._stages[prediction_id] = stage
        for event in self._following.get(prediction_id, ()):
            event.set()

    def stage(self, prediction_id: str) -> Stage | None:
        return self._stages.get(prediction_id)


@contextmanager
def listed(events: dict[str, set[News]], prediction_id: str) -> Iterator[News]:
    """A new event, listed for as long as the block runs."""
    event = News()
    events[prediction_id].add(event)
    try:
        yield event
    finally:
        discard(events, prediction_id, event)


def discard(events: dict[str, set[News]], prediction_id: str, event: News) -> None:
    events[prediction_id].discard(event)
    if not events[prediction_id]:
        del events[prediction_id]
