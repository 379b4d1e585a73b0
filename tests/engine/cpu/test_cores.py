import os
from pathlib import Path

import pytest

from bildwerk.cli import machine
from bildwerk.engine.cpu.cores import usable_cores


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", 8),
        ("300000 100000", 3),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("9900000 100000", 8),
        ("100000 0", 8),
        ("?", 8),
    ],
)
def test_a_share_of_time(tmp_path: Path, text: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path, tmp_path / "own") == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("350000", 3)])
def test_a_share_of_time_as_older_kernels_say_it(tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path, tmp_path / "own") == cores


@pytest.mark.parametrize(
    ("outer", "inner", "cores"), [("max", "200000", 2), ("200000", "max", 2), ("300000", "500000", 3)]
)
def test_the_narrowest_of_the_groups_that_it_is_in(tmp_path: Path, outer: str, inner: str, cores: int) -> None:
    group = tmp_path / "system.slice" / "pictures.service"
    group.mkdir(parents=True)
    (group.parent / "cpu.max").write_text(f"{outer} 100000")
    (group / "cpu.max").write_text(f"{inner} 100000")
    (tmp_path / "own").write_text("0::/system.slice/pictures.service\n")
    assert usable_cores(tmp_path, tmp_path / "own") == cores


def test_a_group_of_the_host_that_the_container_does_not_see(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000")
    (tmp_path / "own").write_text("0::/../../kubepods/pod7\n")
    assert usable_cores(tmp_path, tmp_path / "own") == 2


def test_without_a_share(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, tmp_path / "own") == 8


def test_doctor_tells_the_number_that_the_engine_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 3)
    assert machine.read_machine().cores == 3
