"""The bench needs minutes and a quiet machine; that it can run at all is found out here, on toy networks."""

import json
from typing import Any

import pytest

from bench.cpu import __main__ as cpu


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("cpu")
    where = ["--material", str(folder / "material"), "--out", str(folder / "cpu.json")]
    assert cpu.main(["--scale", "tiny", "--heat", "diffusers", "--rounds", "2", "--threads", "1", *where]) == 0
    return json.loads((folder / "cpu.json").read_text())


def test_ours_and_diffusers_are_measured_in_turn(result: dict[str, Any]) -> None:
    heat = result["heats"]["diffusers 32"]
    assert {entry["status"] for entry in heat["results"].values()} == {"measured"}
    assert {entry["rounds"] for entry in heat["results"].values()} == {2}
    assert heat["commit"]
    assert heat["machine"]["cpu"]
    assert heat["versions"]["torch"]
