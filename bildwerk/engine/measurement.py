"""How long a loaded model takes for a picture, and in which stages. No torch: any engine can be measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from bildwerk.engine.request import Engine, GeneratedImage, GenerateRequest

STAGES = ("encode", "denoise", "decode")
AT_LEAST = 3
AT_MOST = 100


@dataclass(frozen=True, slots=True)
class PictureTime:
    """Seconds of one picture, from the request to its file's bytes; `stages` without the writing of the file."""

    seconds: float
    stages: dict[str, float]


@dataclass(frozen=True, slots=True)
class Measurement:
    """`first` is the cold picture, which pays for what is prepared once; it is not among `pictures`."""

    steps: int
    first: PictureTime
    pictures: tuple[PictureTime, ...]

    @property
    def seconds(self) -> float:
        return median(picture.seconds for picture in self.pictures)

    @property
    def fastest(self) -> float:
        return min(picture.seconds for picture in self.pictures)

    @property
    def slowest(self) -> float:
        return max(picture.seconds for picture in self.pictures)

    @property
    def stages(self) -> dict[str, float]:
        return {stage: median(picture.stages[stage] for picture in self.pictures) for stage in STAGES}

    @property
    def seconds_a_step(self) -> float:
        return self.stages["denoise"] / self.steps


def measure(
    engine: Engine,
    request: GenerateRequest,
    seconds: float,
    watch: Callable[[int], object] = lambda _done: None,
    now: Callable[[], float] = time.perf_counter,
) -> Measurement:
    """Make pictures for about so many seconds, at least `AT_LEAST` and at most `AT_MOST` after the first.

    Each has a prompt of its own, since an engine remembers those it has read, and a seed of its own.
    `watch` is told how many are done.
    """
    started = now()
    first = _picture(engine, request, 0, now)
    watch(0)
    pictures: list[PictureTime] = []
    while len(pictures) < AT_LEAST or (now() - started < seconds and len(pictures) < AT_MOST):
        pictures.append(_picture(engine, request, len(pictures) + 1, now))
        watch(len(pictures))
    return Measurement(request.steps, first, tuple(pictures))


def _picture(engine: Engine, request: GenerateRequest, number: int, now: Callable[[], float]) -> PictureTime:
    started = now()
    asked = replace(request, prompt=f"{request.prompt}, {number}", seed=request.seed + number)
    [picture] = [event for event in engine.generate([asked]) if isinstance(event, GeneratedImage)]
    return PictureTime(now() - started, {stage: picture.timings[stage] for stage in STAGES})
