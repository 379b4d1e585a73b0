"""A file on its way: what has arrived of it, hashed as it comes, and a process later gone on with."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.listing import Hash, RemoteFile

CHUNK_BYTES = 4 * 2**20
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class PartFile:
    """`size` bytes are there, and hashed."""

    def __init__(self, path: Path, expected: RemoteFile, file: BinaryIO) -> None:
        self.path = path
        self.expected = expected
        self.size = 0
        self._file = file
        self._hash: Hash = expected.hashing()

    def take_up(self) -> Iterator[int]:
        """Hash what an earlier process left, yielding how far. More than the file has is not its beginning."""
        if os.fstat(self._file.fileno()).st_size > self.expected.size:
            self.restart()
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            self._hash.update(chunk)
            self.size += len(chunk)
            yield self.size

    def append(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._hash.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = self.expected.hashing()
        self.size = 0

    @property
    def is_whole(self) -> bool:
        return self.size == self.expected.size and self._hash.hexdigest() == self.expected.content_id

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_part(path: Path, expected: RemoteFile) -> Iterator[PartFile]:
    """Raises `CheckpointError` where the disk is full or cannot be written."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            yield PartFile(path, expected, file)
    except OSError as error:
        raise _explained(error, path) from error


def _explained(error: OSError, path: Path) -> CheckpointError:
    if error.errno in FULL:
        return CheckpointError(
            f"the disk of {path.parent.parent} is full; make room and run this again: it goes on where it stopped"
        )
    return CheckpointError(f"{path} cannot be written: {error.strerror}")
