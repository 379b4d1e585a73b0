"""`bildwerk bench`, with the toy model in the place of schnell."""

from pathlib import Path

from tests.cli.conftest import Bildwerk

ASKED = ("bench", "--model", "flux-schnell", "--size", "64x64", "--steps", "2", "--seconds", "0", "--device", "cpu")


def test_it_says_how_long_a_picture_takes_and_where(bildwerk: Bildwerk, models_folder: Path) -> None:
    outcome = bildwerk(*ASKED)
    assert outcome.exit_code == 0, outcome.err
    [found] = outcome.events
    assert (found["model"], found["width"], found["height"]) == ("black-forest-labs/flux-schnell", 64, 64)
    assert (found["steps"], found["device"], found["pictures"]) == (2, "cpu", 3)
    assert set(found["stages"]) == {"encode", "denoise", "decode"}
    assert 0 < found["fastest"] <= found["seconds"] <= found["slowest"]
    assert sum(found["stages"].values()) <= 1.5 * found["slowest"]
    assert min(found["product_operations_a_second"].values()) > 0
    assert found["versions"]["torch"]


def test_people_read_lines(bildwerk: Bildwerk, models_folder: Path) -> None:
    lines = bildwerk(*ASKED, "--no-json").out.splitlines()
    assert lines[0].startswith("black-forest-labs/flux-schnell, 64x64, 2 steps; ")
    assert [line.split()[0] for line in lines[1:]] == ["picture", "encode", "denoise", "decode", "load", "products"]
    assert "s a step" in lines[3]


def test_the_precision_is_part_of_the_answer(bildwerk: Bildwerk, models_folder: Path) -> None:
    """The one that was computed in, whether or not somebody asked for it."""
    assert bildwerk(*ASKED, "--dtype", "float32").events[0]["precision"] is None
    assert bildwerk(*ASKED).events[0]["precision"] == "bf16"
    assert bildwerk(*ASKED, "--precision", "bf16").events[0]["precision"] == "bf16"
    [first, *_] = bildwerk(*ASKED, "--precision", "bf16", "--no-json").out.splitlines()
    assert "bfloat16 with products in bf16 on cpu" in first


def test_what_was_prepared_is_part_of_the_answer(bildwerk: Bildwerk, models_folder: Path) -> None:
    [found] = bildwerk(*ASKED).events
    assert found["warmth"] == {
        "placement": "resident", "speed": "fast on cpu", "recorded": 0, "compiled": 0, "plain_runs": 0
    }  # fmt: skip


def test_a_placement_is_refused_where_there_is_no_gpu(bildwerk: Bildwerk, models_folder: Path) -> None:
    outcome = bildwerk(*ASKED, "--placement", "text-streamed")
    assert outcome.exit_code == 1
    assert "placement text-streamed is for GPUs: on cpu everything is resident" in outcome.err
    refused = bildwerk(*ASKED, "--placement", "disk")
    assert refused.exit_code == 2
    assert 'Invalid value "disk" for --placement' in refused.err


def test_what_had_to_be_moved_is_said(bildwerk: Bildwerk, models_folder: Path) -> None:
    outcome = bildwerk("bench", "--model", "flux-schnell", "--size", "70x64", "--steps", "2", "--seconds", "0")
    assert outcome.exit_code == 0, outcome.err
    assert len(outcome.events[0]["warnings"]) == 1
    assert outcome.events[0]["warnings"][0] in outcome.err


def test_a_time_outside_its_range_is_refused_with_the_range(bildwerk: Bildwerk) -> None:
    outcome = bildwerk("bench", "--seconds", "-1")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert "--seconds -1 is outside 0 to 3600" in outcome.err
    assert bildwerk("bench", "--seconds", "nan").exit_code == 2


def test_a_device_that_is_not_there_is_explained(bildwerk: Bildwerk, models_folder: Path) -> None:
    outcome = bildwerk(*ASKED[:-1], "cuda:77")
    assert outcome.exit_code == 1
    assert "cuda:77" in outcome.err
