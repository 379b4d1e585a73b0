"""Where a replica that has nothing to do waits: until it is called to look for work, or until work is brought to it."""

import asyncio
from collections.abc import Awaitable
from typing import Generic, TypeVar

T = TypeVar("T")


class Seat(Generic[T]):
    """One replica's. To be used from the event loop's thread alone."""

    def __init__(self) -> None:
        self._is_called = False
        self._waiting: asyncio.Future[Awaitable[T] | None] | None = None

    @property
    def is_free(self) -> bool:
        """Somebody sits here with nothing to do, and was neither called nor brought anything."""
        return self._waiting is not None and not self._waiting.done()

    def call(self) -> None:
        """There may be work. It is remembered until `hush`."""
        self._is_called = True
        self._end_waiting(None)

    def bring(self, coming: Awaitable[T]) -> None:
        """Work that is on its way, to a seat that is free. Whoever sits here takes the place that it is coming for."""
        assert self.is_free
        self._end_waiting(coming)

    def hush(self) -> None:
        """What the call was about is being looked for."""
        self._is_called = False

    async def wait(self, seconds: float) -> Awaitable[T] | None:
        """What was brought; None after a call, and when `seconds` are over."""
        if self._is_called:
            return None
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        late = loop.call_later(seconds, self._end_waiting, None)
        try:
            return await self._waiting
        finally:
            late.cancel()
            self._waiting = None

    def _end_waiting(self, brought: Awaitable[T] | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(brought)
