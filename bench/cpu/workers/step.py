"""What all workers that run torch share: their arguments, how a run is timed, and where its time goes."""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.cpu.conversation import Answer, Prepared
from bench.cpu.material import SCALES, Material

KINDS = {
    "products": ("addmm", "linear", "_int_mm"),
    "attention": ("attention", "attend", "bmm", "::mm", "softmax"),
    "convolutions": ("convolution",),
}
"""Of operations, by what their names contain; the first that fits. All others go element by element, or only move."""
REST = "the rest"
LONGEST = 12


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker was told: which of its ways to measure, on which files, at which side in pixels."""

    way: str
    material: Material
    side: int
    threads: int

    @classmethod
    def of_command_line(cls) -> "Task":
        parser = argparse.ArgumentParser()
        parser.add_argument("way")
        parser.add_argument("folder", type=Path)
        parser.add_argument("scale", choices=[*SCALES])
        parser.add_argument("side", type=int)
        parser.add_argument("threads", type=int)
        asked = parser.parse_args()
        torch.set_num_threads(asked.threads)
        torch.set_grad_enabled(False)
        return cls(asked.way, Material(asked.folder, SCALES[asked.scale]), asked.side, asked.threads)


def prepared(
    facts: dict[str, object], run: Callable[[], Tensor], measure: Callable[[], Answer] | None = None
) -> Prepared:
    """`run` gives the result; `measure` is the time that it takes, unless it says something better."""
    return Prepared(
        facts=_torch_facts() | facts,
        measure=measure or (lambda: _timed(run)),
        keep=lambda path: save_file({"result": run().float().contiguous()}, path),
        profile=lambda: _profile(run),
    )


def _torch_facts() -> dict[str, object]:
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
    }


def _timed(run: Callable[[], object]) -> Answer:
    start = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - start}


def _profile(run: Callable[[], object]) -> Answer:
    """Seconds by kind of operation, and of the longest operations, each without those that it calls.

    What torch does not see is in the rest.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        started = time.perf_counter()
        run()
        passed = time.perf_counter() - started
    seconds = {event.key: event.self_cpu_time_total / 1e6 for event in found.key_averages()}
    kinds = {kind: sum(spent for name, spent in seconds.items() if _kind(name) == kind) for kind in KINDS}
    kinds[REST] = passed - sum(kinds.values())
    longest = sorted(seconds.items(), key=lambda item: -item[1])[:LONGEST]
    return {"kinds": kinds, "longest": dict(longest)}


def _kind(name: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), REST)
