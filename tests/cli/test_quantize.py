"""`bildwerk models quantize`: what it writes, prints and refuses."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.cli.conftest import Bildwerk
from tests.weights import published
from tests.weights.published import write


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = published.model().states()["transformer"]
    return write(tmp_path_factory.mktemp("source") / "flux.safetensors", state)


def test_it_writes_a_file_and_says_so(bildwerk: Bildwerk, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "int8.safetensors"
    outcome = bildwerk("models", "quantize", source, target)
    assert (outcome.exit_code, outcome.err) == (0, "")
    [event] = outcome.events
    assert event.keys() == {"path", "bytes", "tensors", "seconds"}
    assert (event["path"], event["bytes"]) == (str(target), target.stat().st_size)
    assert "img_in.weight_scale" in load_file(target)
    assert target.stat().st_size < source.stat().st_size / 3.5


def test_for_a_person_it_says_it_in_a_line(bildwerk: Bildwerk, source: Path, tmp_path: Path) -> None:
    outcome = bildwerk("models", "quantize", source, tmp_path / "int8.safetensors", "--no-json")
    assert outcome.out.startswith(f"{tmp_path / 'int8.safetensors'}  0.0")


def test_a_file_that_is_there_is_not_overwritten(bildwerk: Bildwerk, source: Path) -> None:
    before = source.read_bytes()
    outcome = bildwerk("models", "quantize", source, source)
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert outcome.err == (
        f"bildwerk: {source} is there already, and is not overwritten: move it away or choose another name\n"
    )
    assert source.read_bytes() == before


def test_a_source_that_is_none_is_explained(bildwerk: Bildwerk, tmp_path: Path) -> None:
    outcome = bildwerk("models", "quantize", tmp_path / "nothing", tmp_path / "a.safetensors")
    assert outcome.exit_code == 1
    assert "is neither a folder nor one of .safetensors, .sft, .gguf" in outcome.err
