"""`bildwerk generate` makes the picture that was asked for, and says what it did."""

from io import StringIO
from pathlib import Path

import pytest
from PIL import Image

from bildwerk.cli.order import random_seed
from bildwerk.engine import images
from bildwerk.engine.request import MAX_SEED
from tests.cli.conftest import Bildwerk

SMALL = ("--model", "flux-schnell", "--size", "64x64", "--steps", "1")


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


@pytest.fixture(autouse=True)
def _toy_model(models_folder: Path) -> None:
    """Every test here has it."""


def test_it_writes_the_picture_and_tells_its_way_as_json_lines(bildwerk: Bildwerk, tmp_path: Path) -> None:
    target = tmp_path / "lake.png"
    outcome = bildwerk("generate", "a lake", "-o", target, *SMALL, "--seed", 7)
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert [event["event"] for event in outcome.events] == ["start", *["progress"] * 5, "image", "end"]
    start, picture = outcome.events[0], outcome.events[-2]
    assert start["seed"] == 7
    assert start["prompt"] == "a lake"
    assert (picture["path"], picture["seed"], picture["width"], picture["height"]) == (str(target), 7, 64, 64)
    assert picture["bytes"] == target.stat().st_size
    image = opened(target)
    assert image.size == (64, 64)
    assert "Seed: 7" in str(images.read_parameters(image))


def test_without_json_it_prints_the_path_and_the_seconds(bildwerk: Bildwerk, tmp_path: Path) -> None:
    target = tmp_path / "lake.webp"
    outcome = bildwerk("generate", "a lake", "-o", target, *SMALL, "--seed", 7, "--no-json")
    first, second = outcome.out.splitlines()
    assert first == f"{target}  64x64  seed 7"
    assert second.startswith("1 picture in ")
    assert "seed 7" in outcome.err
    assert opened(target).format == "WEBP"


def test_the_same_seed_gives_the_same_file_and_another_seed_another(bildwerk: Bildwerk, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        bildwerk("generate", "a lake", "-o", tmp_path / f"{name}.png", *SMALL, "--seed", seed)
    a, b, c = (opened(tmp_path / f"{name}.png").tobytes() for name in "abc")
    assert a == b
    assert a != c


def test_several_pictures_are_numbered_and_picture_i_uses_seed_plus_i(bildwerk: Bildwerk, tmp_path: Path) -> None:
    outcome = bildwerk("generate", "a lake", "-o", tmp_path / "lake.png", *SMALL, "--seed", 40, "--n", 5)
    pictures = [event for event in outcome.events if event["event"] == "image"]
    assert [Path(picture["path"]).name for picture in pictures] == [f"lake-{n}.png" for n in range(1, 6)]
    assert [picture["seed"] for picture in pictures] == [40, 41, 42, 43, 44]
    alone = bildwerk("generate", "a lake", "-o", tmp_path / "alone.png", *SMALL, "--seed", 44)
    assert alone.exit_code == 0
    difference = [
        abs(a - b)
        for a, b in zip(
            opened(tmp_path / "alone.png").tobytes(), opened(tmp_path / "lake-5.png").tobytes(), strict=True
        )
    ]
    assert max(difference) <= 8
    assert sum(difference) / len(difference) < 0.5


@pytest.mark.parametrize("seed", [(), ("--seed=-1",)])
def test_without_a_seed_it_draws_one_and_says_which(bildwerk: Bildwerk, tmp_path: Path, seed: tuple[str, ...]) -> None:
    outcome = bildwerk("generate", "a lake", "-o", tmp_path / "{seed}.png", *SMALL, *seed)
    drawn = outcome.events[0]["seed"]
    assert 0 <= drawn < 2**32
    assert (tmp_path / f"{drawn}.png").is_file()


def test_a_drawn_seed_leaves_room_for_the_seeds_of_the_other_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda bound: bound - 1)
    assert random_seed(1) == MAX_SEED
    assert random_seed(100) + 99 == MAX_SEED


def test_whatever_had_to_be_moved_is_a_warning_said_once(bildwerk: Bildwerk, tmp_path: Path) -> None:
    moved = ("--model", "flux-schnell", "--size", "70x64", "--steps", "20", "--guidance", "7.5", "--n", "2")
    outcome = bildwerk("generate", "word " * 400, "-o", tmp_path / "lake.jpg", *moved)
    warnings = [event["message"] for event in outcome.events if event["event"] == "warning"]
    assert [warning.partition(" ")[0] for warning in warnings] == ["size", "steps", "guidance", "the"]
    assert "reads 256 tokens" in warnings[-1]
    assert outcome.events[0]["steps"] == 4
    assert (tmp_path / "lake-2.jpg").is_file()


def test_without_a_prompt_standard_input_is_read(
    bildwerk: Bildwerk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("a lake\n"))
    outcome = bildwerk("generate", "-o", tmp_path / "lake.png", *SMALL)
    assert outcome.exit_code == 0
    assert outcome.events[0]["prompt"] == "a lake"


def test_a_picture_replaces_an_older_one_whole(bildwerk: Bildwerk, tmp_path: Path) -> None:
    target = tmp_path / "lake.png"
    target.write_bytes(b"old" * 1_000_000)
    assert bildwerk("generate", "a lake", "-o", target, *SMALL).exit_code == 0
    assert opened(target).size == (64, 64)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake.png", "models"]
