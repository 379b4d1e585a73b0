"""What a device can do at all: the rate of its matrix products, which are nearly all of the work in a picture."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from bildwerk.engine.devices import wait_for

ROWS, WIDTH = 1280, 3072
"""A picture of 512x512 with its text, and the hidden size of FLUX."""
ON_GPU = 8
"""Times as many rows, since a GPU is done with few before its clock is read."""
REPEATS = 5
PATIENCE_SECONDS = 1.0
"""A type that the device only imitates is not measured for longer."""
TYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def product_rates(device: torch.device, rows: int = ROWS, width: int = WIDTH) -> dict[str, float]:
    """Operations a second by type, two a multiply-add."""
    if device.type != "cpu":
        rows *= ON_GPU
    return {name: 2 * rows * width**2 / _seconds(device, dtype, rows, width) for name, dtype in TYPES.items()}


def _seconds(device: torch.device, dtype: torch.dtype, rows: int, width: int) -> float:
    x = torch.randn(rows, width, device=device).to(dtype)
    weight = torch.randn(width, width, device=device).to(dtype)
    return _median_seconds(lambda: torch.nn.functional.linear(x, weight), device)


def _median_seconds(run: Callable[[], Tensor], device: torch.device) -> float:
    """After one to warm up, unless that alone took too long."""
    seconds = [_once(run, device)]
    if seconds[0] < PATIENCE_SECONDS:
        seconds = [_once(run, device) for _ in range(REPEATS)]
    return median(seconds)


def _once(run: Callable[[], Tensor], device: torch.device) -> float:
    wait_for(device)
    start = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - start


def describe(device: torch.device, dtype: torch.dtype) -> dict[str, str | int]:
    """Where and in what an engine computes, by the names that people type."""
    return {"device": str(device), "dtype": str(dtype).removeprefix("torch."), "threads": torch.get_num_threads()}
