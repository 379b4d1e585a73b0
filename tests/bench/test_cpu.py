"""The bench needs minutes and a quiet machine; that it can run at all is found out here, on toy networks."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.cpu import __main__ as cpu
from bench.cpu import contenders
from bench.cpu.contenders import BASE, CEILINGS, Heat
from bench.cpu.goals import GOALS
from bench.cpu.heats import Running, Setting
from bench.cpu.material import SCALES, Material
from bench.cpu.record import Record
from bench.cpu.result import joined
from bench.cpu.table import of as table_of

NOWHERE = "/nowhere/python"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cpu")


@pytest.fixture(scope="module")
def run(folder: Path) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        where = ["--material", str(folder / "material"), "--out", str(folder / "cpu.json"), "--peers-python", NOWHERE]
        cpu.main(["--scale", "tiny", "--side", "32", "--rounds", "2", "--threads", "1", *where, *arguments])
        return json.loads((folder / "cpu.json").read_text())

    return run


@pytest.fixture(scope="module")
def setting(folder: Path) -> Setting:
    setting = Setting(Material(folder / "material", SCALES["tiny"]), 1, 1, NOWHERE, deadline=1e12)
    setting.material.make()
    return setting


@pytest.fixture(scope="module")
def found(run: Callable[..., Any]) -> dict[str, Any]:
    """Of the heat that decides most goals, and of the accuracy."""
    run("--heat", "diffusers")
    return run("--heat", "accuracy")


def test_ours_and_diffusers_are_measured_in_turn(found: dict[str, Any]) -> None:
    heat = found["heats"]["diffusers 32"]
    measured = [result for result in heat["results"].values() if result["status"] == "measured"]
    assert len(measured) >= 4  # a processor may lack products of int8
    assert {len(result["runs"]) for result in measured} == {2}
    assert {result["facts"].get("threads", 1) for result in measured} == {1}
    assert "FluxAttnProcessor" in heat["results"][BASE]["facts"]["attention"]
    assert heat["results"][BASE]["kinds"]["products"] > 0
    assert min(heat["results"][CEILINGS]["parts"]["bf16"]) > 0
    assert heat["commit"]
    assert heat["machine"]["cpu"]
    assert heat["versions"]["torch"]


def test_all_compute_the_same_velocity_and_idle_blocks_are_noticed(found: dict[str, Any]) -> None:
    errors = found["accuracy"]["32"]["errors"]
    assert errors["ours, bf16"] < 0.02
    assert errors["ours, as written"] < 0.02
    assert errors["diffusers, bf16"] < 0.02
    assert errors.get("ours, int8", 0) < min(0.03, 1.15 * errors[contenders.PLAIN_INT8])
    assert errors[contenders.GUTTED] > 0.5


def test_a_peer_that_is_not_installed_is_listed_with_how_to_get_it(tmp_path: Path, setting: Setting) -> None:
    [peer] = [entry for heat in cpu.HEATS for entry in heat.entries if entry.name == contenders.SDCPP_Q8]
    heat, record = Heat("peers", (peer,), "one step"), Record(tmp_path / "cpu.json")
    record.write_heat(heat, 32, setting, Running(heat, 32, setting).run())
    result = record.heats["peers 32"]["results"][peer.name]
    assert result["status"] == "absent"
    assert NOWHERE in result["reason"]
    assert f"{peer.name}: absent" in table_of(record)
    assert "pip install stable-diffusion-cpp-python" in table_of(record)


def test_the_table_has_a_row_for_every_contender_and_every_goal(found: dict[str, Any], folder: Path) -> None:
    printed = table_of(Record.read(folder / "cpu.json"))
    rows = [line.split("  ")[0] for line in printed.splitlines()]
    assert rows.count("ours, bf16") == 2  # once in the heat, once among the errors
    assert [line for line in rows if line.startswith("G1")] == [goal.number for goal in GOALS if goal.number[0] == "G"]
    assert "toy networks" in printed


def test_the_picture_shows_each_contender(found: dict[str, Any], folder: Path) -> None:
    with Image.open(folder / "cpu.png") as picture:
        assert picture.height > 200
        assert len(picture.getcolors(1 << 20) or []) > 3


def test_a_contender_that_dies_is_a_result_and_the_others_go_on(setting: Setting) -> None:
    good = next(entry for heat in cpu.HEATS for entry in heat.entries if entry.name == contenders.OURS_EAGER)
    bad = replace(good, name="broken", way="no such way")
    results = Running(Heat("both", (bad, good), "one step"), 32, setting).run()
    assert results["broken"]["status"] == "failed"
    assert "no such way" in results["broken"]["reason"]
    assert results[good.name]["status"] == "measured"


@pytest.mark.parametrize(("disturbed", "kept", "asked"), [([0.5, 0.3, 0.01, 0.9], 0.01, 3), ([0.1, 0.0], 0.1, 1)])
def test_what_others_disturb_is_measured_again(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, disturbed: list[float], kept: float, asked: int
) -> None:
    [heat] = [heat for heat in cpu.HEATS if heat.name == "diffusers"]
    running, waiting = Running(heat, 32, setting, answers={BASE: []}), list(disturbed)
    monkeypatch.setattr(Running, "_ask_once", lambda _running, _entry: {"seconds": 1.0, "others": waiting.pop(0)})
    running._ask(heat.entries[0])
    assert [answer["others"] for answer in running.answers[BASE]] == [kept]
    assert len(disturbed) - len(waiting) == asked


def test_rounds_of_one_commit_can_be_added() -> None:
    before = {"status": "measured", "runs": [1.0], "others": [0.0], "parts": {"forward": [0.5]}, "peak_gib": 1.0}
    after = before | {"runs": [3.0], "mib_read": [2.0], "parts": {"forward": [0.7]}, "peak_gib": 2.0}
    both = joined(before, after)
    assert (both["runs"], both["parts"], both["peak_gib"]) == ([1.0, 3.0], {"forward": [0.5, 0.7]}, 2.0)
    assert both["mib_read"] == [2.0]  # what was measured before does not tell
    assert joined(before, {"status": "failed"}) == before


def test_what_came_from_the_disk_is_told(found: dict[str, Any], folder: Path) -> None:
    record = Record.read(folder / "cpu.json")
    result = next(heat["results"][BASE] for key, heat in record.heats.items() if key.startswith("diffusers"))
    assert len(result["mib_read"]) == len(result["runs"])
    result["mib_read"][0] = 680.4
    result["others"] = [0.0]
    assert f"{BASE}: up to 680 MiB in a round came from the disk" in table_of(record)


def test_every_contender_has_its_program() -> None:
    entries = [*(entry for heat in cpu.HEATS for entry in heat.entries), *contenders.JUDGED, contenders.EXACT]
    workers = Path(contenders.__file__).with_name("workers")
    assert [entry.name for entry in entries if not (workers / f"{entry.module}.py").is_file()] == []
