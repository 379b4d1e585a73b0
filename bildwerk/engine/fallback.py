"""A batch that the memory does not suffice for is made again, once, by a model that takes less of it."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec, Protocol, cast

from bildwerk.engine.request import LOADING, Event, GeneratedImage, OutOfMemoryError

P = ParamSpec("P")


class CanFallBack(Protocol):
    @property
    def can_fall_back(self) -> bool: ...

    def fall_back(self, reason: str) -> None:
        """The model takes less memory from now on."""
        ...


def falling_back(generate: Callable[P, Iterator[Event]]) -> Callable[P, Iterator[Event]]:
    """For an engine's method `generate`, which begins anew where the memory ran out and the engine can fall back.

    Progress is told again then, after `LOADING`; a picture that was delivered is not delivered twice.
    """

    @wraps(generate)
    def generating(*args: P.args, **kwargs: P.kwargs) -> Iterator[Event]:
        engine = cast(CanFallBack, args[0])
        delivered: set[tuple[str, int]] = set()
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
                if not engine.can_fall_back:
                    raise
                reason = str(error)
            yield LOADING
            engine.fall_back(reason)  # here, after the `except` block, whose traceback kept the tensors alive

    return generating
