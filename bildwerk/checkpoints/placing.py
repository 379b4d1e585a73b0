"""A file that is on this machine becomes one of a model's, without a second copy where the file system allows.

The source is only read, whatever happens. Nothing of a model is ever written in place, so a shared file stays as it is.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.part_file import CHUNK_BYTES

FICLONE = 0x40049409
"""The request by which Linux shares the blocks of a file; source: linux/fs.h."""


class Manner(StrEnum):
    """How a file was taken over."""

    REFLINK = "reflink"
    """Its own file, whose blocks are shared until one of both is changed."""
    HARD_LINK = "hard link"
    """One file under two names."""
    COPY = "copy"


def place(source: Path, target: Path, *, may_share: bool = True) -> Manner:
    """source: a regular file; target: a name that is free. Raises `OSError`, and `CheckpointError` for other things."""
    with _opened(source) as descriptor:
        if may_share and _reflink(descriptor, target):
            return Manner.REFLINK
        if may_share and _hard_link(source, descriptor, target):
            return Manner.HARD_LINK
        _copy(descriptor, target)
        return Manner.COPY


def can_share(source: Path, folder: Path) -> bool:
    """Whether both lie on one disk, without which a file has to be copied."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    return source.stat().st_dev == existing.stat().st_dev


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor. Opening a pipe must not wait for a writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CheckpointError(f"{path} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def _reflink(source: int, target: Path) -> bool:
    with target.open("xb") as file:
        try:
            fcntl.ioctl(file.fileno(), FICLONE, source)
        except OSError:
            is_shared = False
        else:
            is_shared = True
    if not is_shared:
        target.unlink()
    return is_shared


def _hard_link(path: Path, source: int, target: Path) -> bool:
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:
        return False
    if os.path.samestat(os.fstat(source), target.lstat()):
        return True
    target.unlink()
    return False


def _copy(source: int, target: Path) -> None:
    with os.fdopen(source, "rb", closefd=False) as origin, target.open("xb") as file:
        while chunk := origin.read(CHUNK_BYTES):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
