"""The suite runs where there is a GPU, seldom; that it can run at all is found out here, on toy networks."""

import json
from pathlib import Path

import pytest

from bench import gpu_suite
from bench.gpu.record import FILE_NAME, Record

TINY = ["--tiny", "--device", "cpu", "--rounds", "1"]


def _run(folder: Path, *arguments: str) -> int:
    return gpu_suite.main([*TINY, "--out", str(folder), *arguments])


def _stages(folder: Path) -> dict[str, dict]:
    return json.loads((folder / FILE_NAME).read_text())["stages"]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    assert _run(folder, "--stage", "all") == 0
    return folder


@pytest.mark.filterwarnings("ignore")  # those of the peers are not ours to mend
def test_every_stage_runs(whole_run: Path) -> None:
    stages = _stages(whole_run)
    assert set(stages) == set(gpu_suite.BY_NAME)
    assert {entry["status"] for entry in stages.values()} == {"done"}
    assert all(entry["versions"]["torch"] and entry["commit"] and entry["hardware"] for entry in stages.values())


@pytest.mark.filterwarnings("ignore")
def test_the_peers_paint_the_same_picture(whole_run: Path) -> None:
    distance = _stages(whole_run)["peers"]["numbers"]["same picture"]
    assert distance["ours, eager"] < 1
    assert distance["ours, fast"] < 1
    assert distance["another seed"] > 20


@pytest.mark.filterwarnings("ignore")
def test_speed_keeps_its_promises_on_toy_networks_too(whole_run: Path) -> None:
    numbers = _stages(whole_run)
    assert all(numbers["parity"]["numbers"]["verdicts"].values())
    assert numbers["resolutions"]["numbers"]["compiled"] == 0
    assert numbers["resolutions"]["numbers"]["calls in other shapes"] == 0
    assert numbers["bf16"]["numbers"]["warmth"]["speed"] == "compiled and recorded"


@pytest.mark.filterwarnings("ignore")
def test_the_report_has_a_row_for_every_goal(whole_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(whole_run, "--report") == 0
    printed = capsys.readouterr().out
    assert "toy size" in printed
    assert "not measured" not in printed
    assert [printed.count(f"| {goal} |") for goal in ("G1", "G5", "G6", "G10")] == [1, 1, 2, 3]


def test_what_is_done_is_not_done_again_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in ([], [], ["--again"]):
        _run(tmp_path, "--stage", "ceilings", *extra)
    said = capsys.readouterr().err
    assert said.count("ceilings: begins") == 2
    assert said.count("ceilings: done before") == 1


def test_a_run_goes_on_from_the_results_of_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(tmp_path / "first", "--stage", "ceilings")
    _run(tmp_path / "second", "--stage", "ceilings", "--previous", str(tmp_path / "first" / FILE_NAME))
    assert "ceilings: done before" in capsys.readouterr().err


def test_a_stage_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_bench: object) -> None:
        raise ValueError("no such kernel")

    stages = (gpu_suite.Stage("bf16", broken, 1), gpu_suite.BY_NAME["ceilings"])
    monkeypatch.setattr(gpu_suite, "STAGES", stages)
    assert _run(tmp_path, "--stage", "all") == 1
    assert _stages(tmp_path)["bf16"]["reason"] == "ValueError: no such kernel"
    assert _stages(tmp_path)["ceilings"]["status"] == "done"


def test_nothing_measured_is_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, "--report") == 0
    assert capsys.readouterr().out.count("not measured") >= 10
    assert Record.read(tmp_path).stages == {}
