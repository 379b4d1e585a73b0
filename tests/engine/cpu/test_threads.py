import os
from pathlib import Path

import pytest
import torch

from bildwerk.engine.cpu.threads import usable_cores, use_fitting_threads

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", ALLOWED), ("100000 100000", 1), ("50000 100000", 1), ("9900000 100000", ALLOWED), ("?", ALLOWED)],
)
def test_a_share_of_time(tmp_path: Path, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", ALLOWED), ("150000", 1)])
def test_a_share_of_time_as_older_kernels_say_it(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path) == cores


def test_without_a_share(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == ALLOWED


def test_what_the_environment_says_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 3)
        monkeypatch.setenv("OMP_NUM_THREADS", str(before + 3))
        use_fitting_threads()
        assert torch.get_num_threads() == before + 3
        monkeypatch.delenv("OMP_NUM_THREADS")
        use_fitting_threads()
        assert torch.get_num_threads() <= ALLOWED
    finally:
        torch.set_num_threads(before)
