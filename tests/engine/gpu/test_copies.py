"""What a copy beside the computation waits for, with stand-ins for CUDA's streams and events."""

from contextlib import nullcontext

import pytest
import torch

from bildwerk.engine.gpu.copies import CudaCopies

DEVICE = torch.device("cuda")


class Stream:
    def __init__(self, _device: torch.device) -> None:
        self.awaited: list[object] = []

    def wait_stream(self, other: "Stream") -> None:
        self.awaited.append(other)

    def wait_event(self, event: object) -> None:
        self.awaited.append(event)

    def record_event(self) -> object:
        return object()


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> Stream:
    current = Stream(DEVICE)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: current)
    return current


def test_a_slot_is_first_filled_after_what_its_memory_was_used_for_and_then_after_its_release(
    computing: Stream,
) -> None:
    copies, slot, source = CudaCopies(DEVICE), torch.zeros(2), torch.ones(2)
    copies.begin(0, slot, source)
    assert copies._stream.awaited == [computing]  # type: ignore[attr-defined]
    copies.wait(0)
    assert computing.awaited == [copies._filled[0]]
    copies.release(0)
    copies.begin(0, slot, source)
    assert copies._stream.awaited == [computing, copies._free[0]]  # type: ignore[attr-defined]
    assert slot.tolist() == [1.0, 1.0]
