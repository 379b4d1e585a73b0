"""What doctor says about each model: here or not, in which precision it fits, how fast, and what to do."""

from pathlib import Path
from typing import Any

import pytest

from bildwerk.cli import machine, model_advice
from bildwerk.cli.machine import memory_free
from bildwerk.cli.model_advice import advice
from bildwerk.cli.model_outlook import about_model, duration
from bildwerk.cli.model_state import ModelState
from bildwerk.domain.catalog import load_catalog
from tests.cli.conftest import SCHNELL_FOLDER, Bildwerk

SCHNELL = load_catalog()["black-forest-labs/flux-schnell"]
MISSING = ModelState(SCHNELL, Path("nowhere"), ("the folder nowhere does not exist",))
GB = 10**9
NEEDS = {"bfloat16": 33.2, "8 bits": 18.8, "4 bits": 11.1}


def outlook(*fits: str, **others: Any) -> dict[str, Any]:
    facts = {"device": "cuda:0", "free_gib": 23.5, "needs_gib": NEEDS, "fits": fits, "seconds": 0.9, "gflops": 400_000}
    return facts | others


def test_doctor_looks_at_every_model_on_every_device(bildwerk: Bildwerk, models_folder: Path) -> None:
    [diagnosis] = bildwerk("doctor").events
    models = {model["id"]: model for model in diagnosis["models"]}
    for model in models.values():
        [on_cpu, *_] = model["outlooks"]
        assert on_cpu["device"] == "cpu"
        assert on_cpu["gflops"] > 0
        assert on_cpu["seconds"] > 0
        assert on_cpu["needs_gib"].keys() >= {"as it is here"}
    text = bildwerk("doctor", "--no-json").out
    assert "as it is here fits" in text
    assert "Times are estimates" in text


def test_a_model_that_is_not_here_is_judged_by_what_is_published(
    bildwerk: Bildwerk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILDWERK_MODELS", str(tmp_path))
    [diagnosis] = bildwerk("doctor").events
    [schnell] = [model for model in diagnosis["models"] if model["id"] == SCHNELL.id]
    assert list(schnell["outlooks"][0]["needs_gib"]) == ["bfloat16", "8 bits", "4 bits"]


def test_a_pull_that_was_broken_off_is_said(
    bildwerk: Bildwerk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILDWERK_MODELS", str(tmp_path))
    incoming = tmp_path / SCHNELL_FOLDER / ".incoming"
    incoming.mkdir(parents=True)
    (incoming / "abc.part").write_bytes(bytes(2_000_000))
    out = bildwerk("doctor", "--no-json").out
    assert "its download is not finished: 2.0 MB are here" in out
    assert "bildwerk models pull flux-schnell" in out


def test_each_device_is_a_line() -> None:
    lines = list(about_model(MISSING, [outlook("8 bits", "4 bits")]))
    assert lines == [
        "model      black-forest-labs/flux-schnell: the folder nowhere does not exist",
        "           on cuda:0: 23.5 GiB free, bfloat16 does not fit (33.2 GiB), 8 bits fits (18.8 GiB), 4 bits fits "
        "(11.1 GiB); 1024x1024 in 4 steps takes about a second or less (400,000 GFLOP/s)",
    ]


def plan(placement: str, precision: str, gib: float, *, fits: bool) -> dict[str, Any]:
    return {"placement": placement, "precision": precision, "text": "bf16", "gib": gib, "fits": fits}


def test_a_gpus_placements_are_listed_with_the_one_that_would_be_taken() -> None:
    plans = [plan("resident", "bf16", 33.2, fits=False), plan("text-streamed", "bf16", 25.2, fits=True)]
    assert list(about_model(MISSING, [outlook("8 bits", plans=plans)]))[-1] == (
        "           placements on cuda:0: text-streamed in bf16 is the best that fits; resident in bf16 33.2 GiB, "
        "text-streamed in bf16 25.2 GiB"
    )
    [line] = [line for line in about_model(MISSING, [outlook(plans=plans[:1])]) if "placements" in line]
    assert line.endswith("none fits of resident in bf16 33.2 GiB")


PULL = "fetch it with: bildwerk models pull flux-schnell"


def test_what_fits_one_device_and_the_disk_is_fetched() -> None:
    assert advice(MISSING, [outlook("bfloat16", "8 bits", "4 bits"), outlook()], 40 * GB) == PULL
    assert advice(MISSING, [], 40 * GB) == PULL
    assert advice(ModelState(SCHNELL, Path("nowhere"), ()), [], 0) is None


def test_what_does_not_fit_the_disk_says_so_and_which_smaller_files_would() -> None:
    found = advice(MISSING, [outlook("bfloat16", "8 bits", "4 bits")], 20 * GB)
    assert found is not None
    assert found.startswith("its files, 34.2 GB with room to spare, do not fit the disk of ., which has 20.0 GB ")
    assert "as files of 8 bits" in found
    without_torch = advice(MISSING, [], 12 * GB)
    assert without_torch is not None
    assert "as files of 4 bits" in without_torch


def test_what_fits_neither_disk_nor_memory_says_both() -> None:
    found = advice(MISSING, [outlook("8 bits", "4 bits")], 12 * GB)
    assert found is not None
    assert found.startswith(
        "in bfloat16 it fits no device here and its files, 34.2 GB with room to spare, do not fit the disk of "
    )
    assert "as files of 4 bits" in found


def test_a_disk_that_is_too_small_for_any_files_says_where_else() -> None:
    found = advice(MISSING, [outlook("8 bits")], 5 * GB)
    assert found is not None
    assert found.endswith("nor would smaller files: make room, or set BILDWERK_MODELS to a folder on another disk")


def test_what_is_here_already_is_not_to_come(tmp_path: Path) -> None:
    with (tmp_path / "a.part").open("wb") as part:
        part.truncate(30 * GB)
    assert advice(ModelState(SCHNELL, tmp_path, ("it is cut off",)), [], 5 * GB) == PULL


@pytest.mark.parametrize("command", [("models", "show", "flux-schnell"), ("models", "verify", "flux-schnell")])
def test_no_command_advises_what_doctor_does_not(
    bildwerk: Bildwerk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Of one machine, of which others take no memory and no disk between two commands."""
    monkeypatch.setenv("BILDWERK_MODELS", str(tmp_path))
    monkeypatch.setattr(machine, "memory_free", lambda: 20 * GB)
    monkeypatch.setattr(model_advice, "free_bytes", lambda _: 12 * GB)
    [diagnosis] = bildwerk("doctor").events
    [said] = [sentence for sentence in diagnosis["to_do"] if sentence.startswith(SCHNELL.id)]
    [found] = bildwerk(*command).events
    shown = found["advice"] if "advice" in found else found["to_do"][0]
    refused = bildwerk("generate", "a lake", "--model", "flux-schnell", "-o", tmp_path / "lake.png").err
    for sentence in (shown, refused.strip()):
        assert sentence.endswith(said.partition(": ")[2])


def test_what_fits_in_smaller_files_says_which_and_how() -> None:
    found = advice(MISSING, [outlook("8 bits", "4 bits"), outlook("4 bits")], 40 * GB)
    assert found is not None
    assert found.startswith("in bfloat16 it fits no device here: take transformer and T5 as files of 8 bits")
    assert "bildwerk models pull flux-schnell --without transformer --without text_encoder_2" in found


def test_what_fits_nowhere_says_how_much_it_would_need() -> None:
    found = advice(MISSING, [outlook()], 40 * GB)
    assert found == "no device here has the 11.1 GiB that black-forest-labs/flux-schnell needs even with 4 bits"


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0.3, "a second or less"), (1.4, "1 s"), (119, "119 s"), (180, "3 min"), (7_000, "117 min"), (8_000, "2 h")],
)
def test_an_estimate_is_rounded(seconds: float, says: str) -> None:
    assert duration(seconds) == says


def test_a_containers_limit_is_the_memory_that_is_free(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert memory_free(tmp_path, tmp_path) == 8000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory_free(tmp_path, tmp_path) == 8000 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory_free(tmp_path, tmp_path) == 4000
    assert memory_free(tmp_path / "gone", tmp_path / "gone") is None
