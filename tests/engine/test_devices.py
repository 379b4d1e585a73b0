"""Names that people type become devices of torch, or a sentence."""

import pytest
import torch

from bildwerk.engine.devices import best_device, find_device
from bildwerk.engine.request import EngineError


def pretend(monkeypatch: pytest.MonkeyPatch, cuda_devices: int = 0, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda_devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda_devices)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr("bildwerk.engine.devices.torch.empty", lambda *_, device: torch.zeros(0))


@pytest.mark.parametrize(
    "name",
    ["", "meta", "hpu", "privateuseone", "cpu:5", "mps:1", "toaster", "CUDA", "cuda:", "cuda:-1", "cuda:٣", "cpu "],
)
def test_only_the_three_kinds_of_device_have_names(name: str) -> None:
    with pytest.raises(EngineError, match=f"^device '{name}' is not one of cpu, mps, cuda, or a numbered one"):
        find_device(name)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cuda", "there is no device 'cuda' here: torch sees 0 CUDA devices"),
        ("cuda:0", "there is no device 'cuda:0' here: torch sees 0 CUDA devices"),
        ("mps", "there is no device 'mps' here: that is the GPU of a Mac"),
    ],
)
def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, name: str, sentence: str) -> None:
    pretend(monkeypatch)
    with pytest.raises(EngineError, match=f"^{sentence}$"):
        find_device(name)


def test_a_number_beyond_the_last_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda_devices=2)
    assert find_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(EngineError, match=r"^there is no device 'cuda:2' here: torch sees 2 CUDA devices$"):
        find_device("cuda:2")


def test_a_device_that_cannot_be_used_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, cuda_devices=1)

    def busy(*_: object, device: torch.device) -> None:
        raise RuntimeError("all CUDA-capable devices are busy\nand a stack")

    monkeypatch.setattr("bildwerk.engine.devices.torch.empty", busy)
    with pytest.raises(EngineError, match=r"^device 'cuda:0' cannot be used: all CUDA-capable devices are busy$"):
        find_device("cuda:0")


@pytest.mark.parametrize(
    ("cuda_devices", "mps", "best"), [(1, True, "cuda"), (1, False, "cuda"), (0, True, "mps"), (0, False, "cpu")]
)
def test_without_a_name_it_is_the_best_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda_devices: int, mps: bool, best: str
) -> None:
    pretend(monkeypatch, cuda_devices, mps)
    assert best_device() == find_device(None) == torch.device(best)
