"""What is asked of torch where real graphs are recorded, with stand-ins for CUDA's streams and graphs."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from bildwerk.engine.gpu.graph_backend import RUNS_BEFORE_CAPTURE, CudaGraphs
from bildwerk.engine.out_of_memory import is_out_of_memory

DEVICE = torch.device("cuda", 1)
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
ENDED = RuntimeError("CUDA error: operation failed due to a previous error during capture")


class Stream:
    def __init__(self, device: torch.device) -> None:
        self.device, self.awaited = device, list[Stream]()

    def wait_stream(self, other: "Stream") -> None:
        self.awaited.append(other)


class Graph:
    def __init__(self) -> None:
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1


class FakeCuda:
    """`log`: whether each run was recorded, and on which stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current = self.default = Stream(DEVICE)
        self.log: list[tuple[bool, Stream]] = []
        self.is_capturing = False
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        for name in ("stream", "graph", "graph_pool_handle", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))

    def graph_pool_handle(self) -> str:
        return "pool"

    def current_stream(self, device: torch.device) -> Stream:
        assert device == DEVICE
        return self.current

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: Graph, pool: str, stream: Stream) -> Iterator[None]:
        """As torch's: where the recording went wrong, ending it raises, and the caller's stream is not handed back."""
        assert (type(graph), pool) == (Graph, "pool")
        self.current, self.is_capturing = stream, True
        try:
            yield
        except Exception:
            raise ENDED from None
        finally:
            self.is_capturing = False

    def run(self) -> Tensor:
        self.log.append((self.is_capturing, self.current))
        return torch.ones(1)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


def test_all_graphs_are_run_and_recorded_on_one_stream_of_their_device(cuda: FakeCuda) -> None:
    backend = CudaGraphs(DEVICE)
    for _ in range(2):
        backend.record(cuda.run).replay()
    [own] = {stream for _, stream in cuda.log}
    assert own is not cuda.default
    assert own.device == DEVICE
    assert [recorded for recorded, _ in cuda.log] == 2 * ([False] * RUNS_BEFORE_CAPTURE + [True])
    assert own.awaited == [cuda.default] * 2
    assert cuda.default.awaited == [own] * 2


def test_a_failed_recording_says_why_and_hands_the_callers_stream_back(cuda: FakeCuda) -> None:
    def run() -> Tensor:
        if cuda.is_capturing:
            raise FULL
        return cuda.run()

    with pytest.raises(torch.OutOfMemoryError) as caught:
        CudaGraphs(DEVICE).record(run)
    assert is_out_of_memory(caught.value)
    assert cuda.current is cuda.default


def test_what_only_the_end_of_a_recording_notices_is_raised(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def graph(*_: object, **__: object) -> Iterator[None]:
        yield
        raise ENDED

    monkeypatch.setattr(torch.cuda, "graph", graph)
    with pytest.raises(RuntimeError, match="previous error during capture"):
        CudaGraphs(DEVICE).record(cuda.run)
