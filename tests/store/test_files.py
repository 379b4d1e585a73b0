"""Stored files: durable, whole, and never outside their folder."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bildwerk.domain.errors import FileGone, StorageUnavailable
from bildwerk.store.files import Files, LocalFiles, MemoryFiles

KINDS: list[Callable[[Path], Files]] = [LocalFiles, lambda _folder: MemoryFiles()]


@pytest.mark.parametrize("make", KINDS, ids=["local", "memory"])
def test_what_is_put_can_be_got_and_deleted(tmp_path: Path, make: Callable[[Path], Files]):
    files = make(tmp_path / "files")
    stored = files.put("outputs/a/b/1/0.png", b"picture")
    assert (stored.byte_count, len(stored.sha256)) == (7, 64)
    assert files.get(stored.key) == b"picture"
    assert files.keys() == [stored.key]
    files.delete(stored.key)
    with pytest.raises(FileGone):
        files.get(stored.key)


def test_the_file_and_every_new_folder_are_fsynced_before_put_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    files = LocalFiles(tmp_path / "files")
    monkeypatch.setattr(os, "fsync", record)
    files.put("a/b/0.png", b"picture")
    folder = str(tmp_path / "files")
    assert synced[:2] == [folder, f"{folder}/a"]
    assert synced[2].startswith(f"{folder}/a/b/.0.png.")
    assert synced[3:] == [f"{folder}/a/b"]


def test_a_further_picture_of_an_account_takes_two_fsyncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[int] = []
    files = LocalFiles(tmp_path / "files")
    files.put("outputs/account/first/1/0.png", b"picture")
    monkeypatch.setattr(os, "fsync", synced.append)
    files.put("outputs/account/second/1/0.png", b"picture")
    assert len(synced) == 2
    assert files.keys() == ["outputs/account/first/1/0.png", "outputs/account/second/1/0.png"]


ESCAPES = ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/./b", "", "a\0b", "a\\b", "link/x", "a/b/c~d"]


@pytest.mark.parametrize("key", ESCAPES)
def test_a_key_that_leaves_the_folder_names_nothing(tmp_path: Path, key: str):
    files = LocalFiles(tmp_path / "files")
    (tmp_path / "x").write_bytes(b"secret")
    (tmp_path / "files" / "link").symlink_to(tmp_path)
    with pytest.raises(FileGone):
        files.get(key)


def test_a_disk_that_takes_nothing_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = LocalFiles(tmp_path / "files")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageUnavailable):
        files.put("0.png", b"picture")
    assert files.keys() == []


def test_a_deleted_file_leaves_no_empty_folders(tmp_path: Path):
    files = LocalFiles(tmp_path / "files")
    for key in ("outputs/a/b/1/0.png", "outputs/a/b/1/1.png", "outputs/a/c/1/0.png"):
        files.put(key, b"picture")
    files.delete("outputs/a/b/1/0.png")
    assert files.get("outputs/a/b/1/1.png") == b"picture"
    files.delete("outputs/a/b/1/1.png")
    assert [path.name for path in (tmp_path / "files/outputs/a").iterdir()] == ["c~1~0.png"]
    files.delete("outputs/a/c/1/0.png")
    assert list((tmp_path / "files").iterdir()) == []


def test_a_folder_that_is_being_written_into_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = LocalFiles(tmp_path / "files")
    files.put("a/b/0.png", b"old")
    fsync = os.fsync

    def delete_meanwhile(descriptor: int) -> None:
        if "1.png" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            files.delete("a/b/0.png")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", delete_meanwhile)
    files.put("a/b/1.png", b"new")
    assert files.keys() == ["a/b/1.png"]


def test_putting_and_deleting_at_once_loses_nothing(tmp_path: Path):
    files = LocalFiles(tmp_path / "files")

    def put_and_delete(index: int) -> None:
        for _ in range(20):
            files.put(f"a/b/{index}.png", b"picture")
            files.delete(f"a/b/{index}.png")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put_and_delete, range(4)))
    assert list((tmp_path / "files").iterdir()) == []


def test_a_new_folder_is_not_removed_before_its_first_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = LocalFiles(tmp_path / "files")
    files.put("a/b/0.png", b"old")
    deleting = threading.Thread(target=files.delete, args=("a/b/0.png",))

    def delete_meanwhile(_length: int) -> str:
        deleting.start()
        deleting.join(0.3)
        return "name"

    monkeypatch.setattr("bildwerk.store.files.secrets.token_hex", delete_meanwhile)
    files.put("a/b/1.png", b"new")
    deleting.join()
    assert files.keys() == ["a/b/1.png"]
