"""Filling device memory from the host's while the device computes.

A slot is a piece of device memory that is filled, used and filled again; it is known by its number.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Copies(Protocol):
    """Moves bytes into a slot beside the computation; the slots are known by number."""

    def begin(self, slot: int, target: Tensor, source: Tensor) -> None:
        """Copy, once what last used the slot is done."""

    def wait(self, slot: int) -> None:
        """What is computed from now on finds the slot filled."""

    def release(self, slot: int) -> None:
        """What was computed until now is the last to need the slot's content."""


class CudaCopies:
    """On a stream of its own; the host waits for nothing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._filled: dict[int, torch.cuda.Event] = {}
        self._free: dict[int, torch.cuda.Event] = {}

    def begin(self, slot: int, target: Tensor, source: Tensor) -> None:
        if slot in self._free:
            self._stream.wait_event(self._free[slot])
        else:  # its memory may have been another's, which the device is still at
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            target.copy_(source, non_blocking=True)
            self._filled[slot] = self._stream.record_event()

    def wait(self, slot: int) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._filled[slot])

    def release(self, slot: int) -> None:
        self._free[slot] = torch.cuda.current_stream(self._device).record_event()


class PlainCopies:
    """The twin for devices without streams: a copy is done when it has begun."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def begin(self, slot: int, target: Tensor, source: Tensor) -> None:  # noqa: ARG002
        target.copy_(source)

    def wait(self, slot: int) -> None:
        pass

    def release(self, slot: int) -> None:
        pass


MakeCopies = Callable[[torch.device], Copies]
