"""Who computes: what the dispatcher asks of a replica, wherever it runs."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from bildwerk.domain.prediction import FailureCode
from bildwerk.engine.request import Event, GenerateRequest
from bildwerk.jobs.workers import Health


class ReplicaFailed(Exception):
    """A batch came to nothing. What was not delivered before is for another attempt, or fails with `code`."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Replica(Protocol):
    """One loaded engine. It runs one batch at a time."""

    @property
    def name(self) -> str: ...

    @property
    def models(self) -> frozenset[str]:
        """The catalog's ids that it answers for."""
        ...

    @property
    def max_images(self) -> int:
        """The most pictures of one batch."""
        ...

    @property
    def health(self) -> Health: ...

    async def run(self) -> None:
        """Keep the engine alive until `stop`."""
        ...

    async def wait_until_ready(self) -> None: ...

    def generate(self, requests: Sequence[GenerateRequest]) -> AsyncGenerator[Event, None]:
        """The events of one batch. Raises `ReplicaFailed`. Closing the iterator early ends the engine's process."""
        ...

    async def cancel(self, request_ids: Sequence[str]) -> None:
        """These requests of the running batch are no longer wanted."""
        ...

    async def stop(self) -> None: ...
