"""A batch that the memory does not suffice for is made again by a model that takes less of it, and the model for all
others is made ready again before the next one of them."""

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import ParamSpec, Protocol, cast

from bildwerk.engine.request import LOADING, Event, GeneratedImage, GenerateRequest, OutOfMemoryError

P = ParamSpec("P")
Requests = Sequence[GenerateRequest]


class CanFallBack(Protocol):
    def can_fall_back(self, requests: Requests) -> bool: ...

    def fall_back(self, reason: str, requests: Requests) -> None:
        """The model takes less memory from now on."""
        ...

    def make_ready(self, requests: Requests) -> Iterator[Event]:
        """Where the model has fallen back for others than these: `LOADING`, now and then, until it is as before."""
        ...


def falling_back(generate: Callable[P, Iterator[Event]]) -> Callable[P, Iterator[Event]]:
    """For an engine's method `generate`, which begins anew where the memory ran out and the engine can fall back.

    Progress is told again then, after `LOADING`; a picture that was delivered is not delivered twice.
    """

    @wraps(generate)
    def generating(*args: P.args, **kwargs: P.kwargs) -> Iterator[Event]:
        engine = cast(CanFallBack, args[0])
        requests = cast(Requests, kwargs["requests"] if "requests" in kwargs else args[1])
        delivered: set[tuple[str, int]] = set()
        yield from engine.make_ready(requests)
        while True:
            try:
                for event in generate(*args, **kwargs):
                    if isinstance(event, GeneratedImage):
                        if (key := (event.request_id, event.index)) in delivered:
                            continue
                        delivered.add(key)
                    yield event
                return
            except OutOfMemoryError as error:
                if not engine.can_fall_back(requests):
                    raise
                reason = str(error)
            yield LOADING
            engine.fall_back(reason, requests)  # here, after the `except` block, whose traceback kept the tensors alive

    return generating
