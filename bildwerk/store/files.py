"""Stored pictures: bytes under a key that the server made, durable before anybody is told of them.

A file is written beside its place, fsynced, renamed, and then its folder is fsynced, and every folder that was made
for it: without the last two a power cut takes nearly all of them, however safe the database is.
"""

import hashlib
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from bildwerk.domain.errors import FileGone, StorageUnavailable

FOLDERS, JOINT = 2, "~"
FORBIDDEN = frozenset(("\0", "\\", JOINT))
"""In the parts of a key."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What was made durable: its key, its length in bytes and the SHA-256 of its content in hexadecimal."""

    key: str
    byte_count: int
    sha256: str


class Files(Protocol):
    """A store of immutable files by key."""

    def put(self, key: str, data: bytes) -> StoredFile:
        """Make `data` durable under `key`. Raises `StorageUnavailable`."""
        ...

    def get(self, key: str) -> bytes:
        """Raises `FileGone` when there is no such file."""
        ...

    def delete(self, key: str) -> None: ...

    def keys(self) -> list[str]: ...

    def keys_older_than(self, seconds: float) -> list[str]:
        """Those of files that were put more than `seconds` ago."""
        ...

    def free_bytes(self) -> int:
        """How much more can be stored."""
        ...


def output_key(account_id: str, prediction_id: str, claim_no: int, index: int, extension: str) -> str:
    """Where a picture lies. The claim's number is in it, so a claim that was lost cannot overwrite the one that won."""
    return f"outputs/{account_id}/{prediction_id}/{claim_no}/{index}.{extension}"


class MemoryFiles:
    """The in-memory twin."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._put_at: dict[str, float] = {}

    def put(self, key: str, data: bytes) -> StoredFile:
        self._files[key] = data
        self._put_at[key] = time.time()
        return describe(key, data)

    def get(self, key: str) -> bytes:
        try:
            return self._files[key]
        except KeyError:
            raise FileGone() from None

    def delete(self, key: str) -> None:
        self._files.pop(key, None)

    def keys(self) -> list[str]:
        return sorted(self._files)

    def keys_older_than(self, seconds: float) -> list[str]:
        return [key for key in self.keys() if self._put_at[key] < time.time() - seconds]

    def free_bytes(self) -> int:
        return sys.maxsize


class LocalFiles:
    """A folder of this machine.

    The first two parts of a key are folders, the others together make the name: `outputs/account/prediction~1~0.png`.
    So a picture needs no folders of its own, each of which would cost an fsync more.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._making_folders = threading.Lock()
        make_durable_folder(root)

    def put(self, key: str, data: bytes) -> StoredFile:
        path = self.resolve(key)
        try:
            write_durably(path, data, self._open_beside(path))
        except OSError as error:
            raise StorageUnavailable(f"a picture could not be stored: {error.strerror}") from error
        return describe(key, data)

    def _open_beside(self, path: Path) -> BinaryIO:
        """A new file in the folder of `path`, which from then on is not empty, so that no `delete` takes it away."""
        with self._making_folders:  # else one writer could rely on a folder that another has not yet fsynced
            make_durable_folder(path.parent)
            return path.with_name(f".{path.name}.{secrets.token_hex(8)}").open("xb")

    def get(self, key: str) -> bytes:
        path = self.resolve(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            raise FileGone() from None
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def delete(self, key: str) -> None:
        path = self.resolve(key)
        with self._making_folders:
            path.unlink(missing_ok=True)
            remove_empty_folders(path.parent, self.root)

    def keys(self) -> list[str]:
        return self._keys_of(self._paths())

    def keys_older_than(self, seconds: float) -> list[str]:
        end = time.time() - seconds
        return self._keys_of(path for path in self._paths() if path.stat().st_mtime < end)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def _paths(self) -> Iterator[Path]:
        """Every file; a folder that is removed meanwhile is passed over."""
        for folder, _, names in os.walk(self.root):
            yield from (path for name in names if (path := Path(folder, name)).is_file())

    def _keys_of(self, paths: Iterable[Path]) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix().replace(JOINT, "/") for path in paths)

    def resolve(self, key: str) -> Path:
        """The path of `key`. Raises `FileGone` for a key that would leave the root or pass through a link."""
        parts = key.split("/")
        if any(part in ("", ".", "..") or not FORBIDDEN.isdisjoint(part) for part in parts):
            raise FileGone()
        folders, rest = parts[:FOLDERS], parts[FOLDERS:]
        path = str(self.root)  # a `Path` for each part would take three times as long
        for part in (*folders, JOINT.join(rest)) if rest else folders:
            path = f"{path}/{part}"
            if os.path.islink(path):  # noqa: PTH114
                raise FileGone()
        return Path(path)


def describe(key: str, data: bytes) -> StoredFile:
    return StoredFile(key, len(data), hashlib.sha256(data).hexdigest())


def write_durably(path: Path, data: bytes, file: BinaryIO) -> None:
    """Write a whole file or none: fsync `file`, which has another name in the same folder, rename it, fsync the folder.

    Closes `file`.
    """
    temporary = Path(file.name)
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def make_durable_folder(folder: Path) -> None:
    """Make `folder` and its missing parents, each fsynced into the folder above it."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        fsync_folder(each.parent)


def remove_empty_folders(folder: Path, root: Path) -> None:
    """Remove `folder` and those above it up to `root`, which stays, as far as they are empty."""
    with suppress(OSError):  # the first that is not empty ends it; what is left behind harms nobody
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
