"""What is no longer what it was is found, written down, and not used until it is replaced."""

import os
from pathlib import Path

import pytest

from bildwerk.checkpoints.adoption import adopt
from bildwerk.checkpoints.integrity import problems
from bildwerk.checkpoints.manifest import read_manifest
from bildwerk.checkpoints.verification import Verdict, Verified, verify
from tests.checkpoints.conftest import NEEDED, TRANSFORMER, model_files
from tests.checkpoints.test_adoption import write
from tests.checkpoints.test_pull import pulled
from tests.hub_server import HubServer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "lake"
    for _ in adopt(write(tmp_path / "source", model_files()), folder, may_share=False):
        pass
    return folder


def verdicts(folder: Path) -> dict[str, Verdict]:
    return {event.path: event.verdict for event in verify(folder) if isinstance(event, Verified)}


def damage(path: Path) -> None:
    """As a disk does it: another byte, the same size, the same time."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_model_as_it_came_is_whole(folder: Path) -> None:
    assert verdicts(folder) == dict.fromkeys(sorted(NEEDED), Verdict.OK)


def test_where_nothing_is_recorded_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "models" / "lake").mkdir(parents=True)
    assert verdicts(tmp_path / "models" / "lake") == {}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["lake", "models"]


def test_one_wrong_bit_is_found_and_the_model_not_used(folder: Path) -> None:
    damage(folder / TRANSFORMER)
    assert problems(folder) == []
    assert verdicts(folder) == dict.fromkeys(NEEDED, Verdict.OK) | {TRANSFORMER: Verdict.DAMAGED}
    assert problems(folder) == [f"{folder / TRANSFORMER} is damaged: its content is not what it was when it came"]


def test_a_missing_file_is_found(folder: Path) -> None:
    (folder / TRANSFORMER).unlink()
    assert verdicts(folder)[TRANSFORMER] is Verdict.MISSING


def test_a_pipe_in_a_files_place_is_damage(folder: Path) -> None:
    (folder / TRANSFORMER).unlink()
    os.mkfifo(folder / TRANSFORMER)
    assert verdicts(folder)[TRANSFORMER] is Verdict.DAMAGED


def test_a_link_in_a_files_place_is_damage(folder: Path, tmp_path: Path) -> None:
    (folder / TRANSFORMER).rename(tmp_path / "moved")
    (folder / TRANSFORMER).symlink_to(tmp_path / "moved")
    assert verdicts(folder)[TRANSFORMER] is Verdict.DAMAGED


def test_damage_that_was_mended_is_forgotten(folder: Path) -> None:
    damage(folder / TRANSFORMER)
    verdicts(folder)
    damage(folder / TRANSFORMER)
    assert verdicts(folder)[TRANSFORMER] is Verdict.OK
    assert problems(folder) == []


def test_the_next_pull_fetches_what_is_damaged_and_nothing_else(hub_of_lakes: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "pulled" / "lake"
    pulled(hub_of_lakes, folder)
    damage(folder / TRANSFORMER)
    verdicts(folder)
    hub_of_lakes.seen.clear()
    pulled(hub_of_lakes, folder)
    assert hub_of_lakes.fetched == [TRANSFORMER]
    assert not any(record.damaged for record in read_manifest(folder).files.values())
    assert problems(folder) == []
