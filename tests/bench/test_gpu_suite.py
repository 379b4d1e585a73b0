"""The suite runs where there is a GPU, seldom; that it can run at all is found out here, on toy networks."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import gpu_suite
from bench.gpu.record import FILE_NAME, Record
from bench.gpu.workbench import Workbench

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


def test_a_stage_is_expected_to_take_the_time_of_what_it_has_to_compile(tmp_path: Path) -> None:
    bench = Workbench.of("cpu", True, Record(tmp_path / FILE_NAME), 1)
    alone = gpu_suite.Stage("bf16", lambda _: {}, 40, (gpu_suite.USUAL, gpu_suite.HALF))
    fresh = alone.expected(bench)
    assert fresh == 40 + gpu_suite.NETWORKS_SECONDS + gpu_suite.FIRST_WARM_UP_SECONDS + gpu_suite.NEXT_WARM_UP_SECONDS
    bench.fast(bucket=bench.bucket(part=0.5))
    assert alone.expected(bench) == 40 + gpu_suite.NEXT_WARM_UP_SECONDS
    bench.fast()
    assert alone.expected(bench) == 40
    bench.release()
    assert alone.expected(bench) == fresh


def test_every_stage_alone_fits_into_a_fresh_process(tmp_path: Path) -> None:
    bench = Workbench.of("cpu", True, Record(tmp_path / FILE_NAME), 1)
    assert max(stage.expected(bench) for stage in gpu_suite.STAGES) <= gpu_suite.DEADLINE
    assert gpu_suite.DEADLINE + gpu_suite.GRACE <= 600 - 30


def test_the_readme_expects_what_the_suite_does() -> None:
    readme = (Path(gpu_suite.__file__).parent / "README.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^\| (\w+) \| .* \| (\d+) s \|$", readme, flags=re.MULTILINE))
    assert named == {stage.name: f"{stage.seconds:g}" for stage in gpu_suite.STAGES}
    seconds = (gpu_suite.NETWORKS_SECONDS, gpu_suite.FIRST_WARM_UP_SECONDS, gpu_suite.NEXT_WARM_UP_SECONDS)
    more = "{:g} more go to making the networks, and to compiling {:g} for the first shape in a precision and {:g} for"
    assert more.format(*seconds) in readme


@pytest.mark.filterwarnings("ignore")
def test_every_placement_is_named_for_what_was_measured(whole_run: Path) -> None:
    for name, found in _stages(whole_run)["placements"]["numbers"].items():
        placement, _, precision = name.partition(" in ")
        assert found["plan"].startswith(f"{placement} ({precision}")


HANGING = """
import sys, time
from bench import gpu_suite
def hang(bench):
    time.sleep(600)
gpu_suite.GRACE = 0.1
gpu_suite.STAGES = (gpu_suite.BY_NAME["ceilings"], gpu_suite.Stage("eager", hang, 0))
sys.exit(gpu_suite.main(sys.argv[1:]))
"""


def test_a_stage_that_does_not_end_is_cut_off_and_the_others_are_kept(tmp_path: Path) -> None:
    _run(tmp_path, "--stage", "ceilings")
    command = [sys.executable, "-c", HANGING, *TINY, "--out", str(tmp_path), "--deadline", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert _stages(tmp_path)["eager"] == {"status": "failed", "reason": "cut off after 1.1 s in all"}
    assert _stages(tmp_path)["ceilings"]["status"] == "done"
    assert "| eager | failed cut off" in done.stdout


def test_a_run_whose_results_cannot_be_written_ends_all_the_same(tmp_path: Path) -> None:
    full = HANGING.replace("time.sleep(600)", "bench.record.path.with_suffix('.part').mkdir(); time.sleep(600)")
    command = [sys.executable, "-c", full, *TINY, "--stage", "eager", "--out", str(tmp_path), "--deadline", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "IsADirectoryError" in done.stderr


def test_a_stage_that_was_killed_is_seen_to_have_begun_and_what_was_known_is_kept(tmp_path: Path) -> None:
    record = Record(tmp_path / FILE_NAME)
    record.write("bf16", {"status": "done", "numbers": {"step": 1.0}})
    for stage in ("bf16", "peers"):
        record.begin(stage)
    assert _stages(tmp_path) == {"bf16": {"status": "done", "numbers": {"step": 1.0}}, "peers": {"status": "begun"}}
