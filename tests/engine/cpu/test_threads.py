import pytest
import torch

from bildwerk.engine.cpu import threads
from bildwerk.engine.cpu.threads import use_fitting_threads


def test_what_the_environment_says_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 3)
        monkeypatch.setattr(threads, "usable_cores", lambda: 1)
        monkeypatch.setenv("OMP_NUM_THREADS", str(before + 3))
        use_fitting_threads()
        assert torch.get_num_threads() == before + 3
        monkeypatch.delenv("OMP_NUM_THREADS")
        use_fitting_threads()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
