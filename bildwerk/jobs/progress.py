"""What is going on right now, kept in memory only: how far a batch is, and who waits for which prediction to end.

The truth is in the database. Losing all of this loses nothing but a little time: whoever waits, reads again.
"""

import asyncio
from collections import defaultdict
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
    """To be used from the event loop's thread alone."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._stages: dict[str, Stage] = {}

    @contextmanager
    def watch(self, prediction_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when something has become of the prediction. Start watching before reading it."""
        event = asyncio.Event()
        self._waiting[prediction_id].add(event)
        try:
            yield event
        finally:
            self._waiting[prediction_id].discard(event)
            if not self._waiting[prediction_id]:
                del self._waiting[prediction_id]

    def changed(self, prediction_id: str) -> None:
        """Its status may be another now: whoever waits for that reads it again."""
        self._stages.pop(prediction_id, None)
        for event in self._waiting.get(prediction_id, ()):
            event.set()

    def report(self, prediction_id: str, stage: Stage) -> None:
        self._stages[prediction_id] = stage

    def stage(self, prediction_id: str) -> Stage | None:
        return self._stages.get(prediction_id)
