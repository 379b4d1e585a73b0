"""Before the first request: one picture of every shape that requests will have, until nothing is left to prepare."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from bildwerk.engine.buckets import Bucket
from bildwerk.engine.gpu.compile import Compilations, allow_recompiling
from bildwerk.engine.model_source import ModelSource
from bildwerk.engine.prompt_encoder import PromptEncoder
from bildwerk.engine.request import EngineSpec, Event, GenerateRequest, LostModelError, OutOfMemoryError

OnWarm = Callable[[str, int, int], object]
"""Hears the bucket, how many are warm, and of how many; with none warm, that the first bucket is begun."""


class NotWarmError(RuntimeError):
    """A bucket compiles again each time it is run: it would in every request."""


class Rehearsing(Protocol):
    """An engine before its first request."""

    @property
    def spec(self) -> EngineSpec: ...
    @property
    def source(self) -> ModelSource: ...
    @property
    def prompt_encoder(self) -> PromptEncoder: ...

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Event]: ...

    def slow_down(self, reason: str) -> None: ...


def warm_up(engine: Rehearsing, on_warm: OnWarm = lambda *_: None, buckets: Sequence[Bucket] | None = None) -> None:
    """`warming`, to its end."""
    for progress in warming(engine, buckets):
        on_warm(*progress)


def warming(engine: Rehearsing, buckets: Sequence[Bucket] | None = None) -> Iterator[tuple[str, int, int]]:
    """Run each of the buckets, or those of the engine's source, and seal it.

    Where that fails for another reason than a lack of memory, the engine is slowed down and warmed anew; raises what
    went wrong where it cannot be. Where a bucket did not fit and the engine fell back, all are run again. Each attempt
    begins with a sign of life: loading anew, and compiling the first bucket, may each take minutes.
    """
    wanted = engine.source.buckets if buckets is None else buckets
    engine.source.open()
    try:
        yield from _warm_at_last(engine, wanted)
    finally:  # whoever stops listening, too, leaves nothing that would compile in the middle of a request
        engine.source.seal()


def _warm_at_last(engine: Rehearsing, wanted: Sequence[Bucket]) -> Iterator[tuple[str, int, int]]:
    while wanted:
        placement = engine.source.warmth.placement
        try:
            yield str(wanted[0]), 0, len(wanted)
            yield from _run_all(engine, wanted)
            if engine.source.warmth.placement == placement:
                break
        except (OutOfMemoryError, LostModelError):
            raise
        except Exception as error:  # a compiler may fail in any way, and pictures can be made without it
            if not engine.source.can_slow_down:
                raise
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        else:
            continue
        engine.slow_down(reason)


def _run_all(engine: Rehearsing, buckets: Sequence[Bucket]) -> Iterator[tuple[str, int, int]]:
    allow_recompiling(len(buckets))
    for done, bucket in enumerate(buckets, start=1):
        rehearse(engine, bucket)
        with Compilations() as again:
            rehearse(engine, bucket)
        if again.count:
            raise NotWarmError(f"bucket {bucket} does not stay compiled: {again.count} graphs were compiled again")
        yield str(bucket), done, len(buckets)


def rehearse(engine: Rehearsing, bucket: Bucket) -> None:
    """Make pictures as for strangers, and forget their prompts."""
    width, height, steps = bucket.width, bucket.height, engine.spec.default_steps
    requests = [
        GenerateRequest(f"warming up, {number}", width, height, steps, seed=number, id=str(number))
        for number in range(bucket.batch)
    ]
    for _ in engine.generate(requests):
        pass
    engine.prompt_encoder.forget()
