"""Whoever computes with a model's files holds a shared lock, so that nobody removes them meanwhile.

Another lock than that of `folder_lock`: a model may be filled anew while it is used, since its files are replaced and
never changed.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bildwerk.checkpoints.errors import CheckpointError


@contextmanager
def used(folder: Path) -> Iterator[None]:
    """Until the block or the process ends. Raises `CheckpointError` where the folder is being removed.

    Where no lock can be kept, as on a disk that may only be read, nothing can be removed either.
    """
    descriptor = _opened(folder)
    try:
        if descriptor is not None and not _take(descriptor, fcntl.LOCK_SH):
            raise CheckpointError(f"{folder} is being removed right now")
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def unused(folder: Path) -> Iterator[None]:
    """Nobody begins to use it before the block ends. Raises `CheckpointError` where somebody does already."""
    descriptor = _opened(folder)
    if descriptor is None:
        raise CheckpointError(f"{folder.parent} cannot be written: nothing can be removed from it")
    try:
        if not _take(descriptor, fcntl.LOCK_EX):
            raise CheckpointError(f"{folder} is used right now, by a service or to make pictures: end that first")
        yield
    finally:
        os.close(descriptor)


def _opened(folder: Path) -> int | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(folder.with_name(f".{folder.name}.used"), flags, 0o600)
    except OSError:
        return None


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
