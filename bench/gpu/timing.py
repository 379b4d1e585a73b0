"""How long things take on a device: medians of interleaved runs, and the laps of one run."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import cast

import torch

from bench.gpu.record import Numbers


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of `rounds` runs; `spread` is the middle half's width over the median."""

    median: float
    fastest: float
    slowest: float
    spread: float
    rounds: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Timing":
        ordered, count = sorted(seconds), len(seconds)
        middle = ordered[(3 * count) // 4 if count > 1 else 0] - ordered[count // 4]
        return cls(median(ordered), ordered[0], ordered[-1], middle / median(ordered), count)

    def numbers(self) -> Numbers:
        return cast(Numbers, asdict(self))


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    """From an idle device to an idle device, by the host's clock: what a caller waits for."""
    wait_for(device)
    start = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - start


def interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int, device: torch.device, warm_ups: int = 2
) -> dict[str, Timing]:
    """Every contender once a round, so that a drift of the clocks hits all alike."""
    for run in contenders.values():
        for _ in range(warm_ups):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            seconds[name].append(seconds_of(run, device))
    return {name: Timing.of(measured) for name, measured in seconds.items()}


def kernel_seconds(run: Callable[[], object], device: torch.device, rounds: int = 10, calls: int = 5) -> float:
    """Of one call among several in a row, so that the time to launch it is hidden: the median of the rounds."""

    def several() -> None:
        for _ in range(calls):
            run()

    return interleaved({"": several}, rounds, device)[""].median / calls


class Laps:
    """Marks within one run, without waiting for the device in between."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str, torch.cuda.Event | float]] = []
        self("")

    def __call__(self, name: str) -> None:
        """What ran since the mark before goes by this name."""
        self._marks.append((name, self._now()))

    def _now(self) -> torch.cuda.Event | float:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> dict[str, float]:
        wait_for(self._device)
        found: dict[str, float] = {}
        for (_, start), (name, end) in zip(self._marks[:-1], self._marks[1:], strict=True):
            found[name] = found.get(name, 0.0) + _between(start, end)
        return found


def _between(start: torch.cuda.Event | float, end: torch.cuda.Event | float) -> float:
    if isinstance(start, float) or isinstance(end, float):
        return cast(float, end) - cast(float, start)
    return float(start.elapsed_time(end)) / 1000
