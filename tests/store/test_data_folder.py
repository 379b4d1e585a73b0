"""The lock on a data folder: one server at a time."""

import os
from pathlib import Path

import pytest

from bildwerk.domain.errors import SetupError
from bildwerk.store.data_folder import FolderLock


def test_a_folder_is_locked_once(tmp_path: Path):
    first = FolderLock(tmp_path)
    with pytest.raises(SetupError, match=f"process {os.getpid()}"):
        FolderLock(tmp_path)
    first.release()
    FolderLock(tmp_path).release()


def test_another_folder_is_not(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    locks = [FolderLock(first), FolderLock(second)]
    for lock in locks:
        lock.release()
