"""The README's first screen says what is so: its picture, its numbers, its command and its links."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
from PIL import Image

from bildwerk.cli.main import main
from bildwerk.engine.images import read_parameters

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PICTURE = ROOT / "docs" / "images" / "lake.png"
BENCHMARK = json.loads((ROOT / "bench" / "results" / "cold_start.json").read_text())


def test_the_picture_was_made_with_the_prompt_and_the_numbers_beside_it() -> None:
    with Image.open(PICTURE) as picture:
        parameters = str(read_parameters(picture))
    found = re.search(r"> \*(.+?)\*\. (\S+), seed (\d+), (\d+) steps, (\d+x\d+)", README)
    assert found is not None
    prompt, model, seed, steps, size = found.groups()
    assert parameters.startswith(f"{prompt}\nSteps: {steps}, Seed: {seed}, Size: {size}, Model: bildwerk/{model}, ")


def test_the_command_paints_the_picture(tmp_path: Path) -> None:
    [line] = [line for line in README.splitlines() if line.startswith(".venv/bin/bildwerk generate")]
    _, *arguments, _ = shlex.split(line)
    assert main([*arguments, str(tmp_path / "lake.png")]) == 0
    with Image.open(tmp_path / "lake.png") as painted, Image.open(PICTURE) as shown:
        assert np.abs(np.asarray(painted, np.int16) - np.asarray(shown, np.int16)).max() <= 3


def test_the_numbers_are_those_of_the_stored_measurement() -> None:
    for name, summary in BENCHMARK["results"].items():
        assert re.search(rf"\| {name}[^|]*\| {summary['seconds']:.1f} \| {summary['peak_mib']:.0f} MiB \|", README)
    assert f"{BENCHMARK['results']['bildwerk']['seconds']:.1f} s from start to file" in README


def test_every_linked_file_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []
