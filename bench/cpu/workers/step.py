"""What all workers that run torch share: their arguments, the number of threads, and how a run is timed.

L image tokens, T text tokens.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.cpu.conversation import Answer
from bench.cpu.material import SCALES, Material


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


def torch_facts() -> dict[str, object]:
    """Which torch computes, with how many threads, and how they wait."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
    }


def timed(run: Callable[[], object]) -> Answer:
    start = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - start}


def keep(result: Tensor, path: Path) -> None:
    """For the comparison with others."""
    save_file({"result": result.float().contiguous()}, path)
