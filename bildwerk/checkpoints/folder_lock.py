"""One at a time fills a model's folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bildwerk.checkpoints.errors import CheckpointError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock on a model's folder, which need not be there; it ends with the process, however that ends.

    The lock's file lies beside the folder and stays. Raises `CheckpointError` where another process holds it.
    """
    path = folder.with_name(f".{folder.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CheckpointError(f"models cannot be kept in {path.parent}: {error.strerror}") from error
    try:
        _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise CheckpointError(
            f"another process ({holder or 'unknown'}) is filling {folder} right now; wait until it has ended"
        ) from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
