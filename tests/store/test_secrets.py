"""The master secret: whole or not there, never overwritten, never guessed from a damaged file."""

import os
import stat
from pathlib import Path

import pytest

from bildwerk.domain.errors import SetupError
from bildwerk.store.secrets import FILE_NAME, MASTER_BYTES, create_whole, load_secrets


def test_it_is_made_once(tmp_path: Path):
    made = load_secrets(tmp_path)
    assert load_secrets(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize("length", [0, 1, MASTER_BYTES - 1, MASTER_BYTES + 1])
def test_a_file_of_another_length_is_refused_and_left_alone(length: int, tmp_path: Path):
    damaged = bytes(length)
    (tmp_path / FILE_NAME).write_bytes(damaged)
    with pytest.raises(SetupError, match=f"must have {MASTER_BYTES} bytes, not {length}:"):
        load_secrets(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == damaged


def test_whoever_comes_second_takes_the_firsts(tmp_path: Path):
    path = tmp_path / FILE_NAME
    create_whole(path, b"first")
    create_whole(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_failure_on_the_way_leaves_no_part_of_it(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    if call == "write":
        monkeypatch.setattr("bildwerk.store.secrets.write_private", fail)
    else:
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        load_secrets(tmp_path)
    assert list(tmp_path.iterdir()) == []
