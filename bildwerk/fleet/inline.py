"""The in-memory twin of a replica: an engine in this process, on a thread."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence

from bildwerk.domain.prediction import FailureCode
from bildwerk.engine.request import Engine, Event, GenerateRequest
from bildwerk.fleet.fleet import ReplicaFailed
from bildwerk.jobs.workers import Health, State


class InlineReplica:
    def __init__(self, name: str, models: frozenset[str], engine: Engine, max_images: int = 4) -> None:
        self.name = name
        self.models = models
        self.max_images = max_images
        self._engine = engine
        self._cancelled: set[str] = set()
        self._stopped = asyncio.Event()

    @property
    def health(self) -> Health:
        return Health(self.name, State.STOPPED if self._stopped.is_set() else State.READY, self.models)

    async def run(self) -> None:
        await self._stopped.wait()

    async def wait_until_ready(self) -> None:
        return

    async def generate(self, requests: Sequence[GenerateRequest]) -> AsyncGenerator[Event, None]:
        events = self._engine.generate(requests, self._cancelled.__contains__)
        try:
            while (event := await asyncio.to_thread(next_or_none, events)) is not None:
                yield event
        except ValueError as error:
            raise ReplicaFailed(FailureCode.INVALID_INPUT, str(error)) from error

    async def cancel(self, request_ids: Sequence[str]) -> None:
        self._cancelled.update(request_ids)

    async def stop(self) -> None:
        self._stopped.set()


def next_or_none(events: Iterator[Event]) -> Event | None:
    return next(events, None)
