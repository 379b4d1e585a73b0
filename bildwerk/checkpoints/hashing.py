"""The bytes of a file on the disk, run through a hash."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from bildwerk.checkpoints.listing import Hash
from bildwerk.checkpoints.part_file import CHUNK_BYTES


def hash_file(path: Path, hashing: Hash) -> Iterator[int]:
    """Yields how many bytes have been read. Raises `OSError`, also where the path is a link."""
    done = 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            hashing.update(chunk)
            done += len(chunk)
            yield done


def sha256_of(path: Path) -> str:
    hashing = hashlib.sha256()
    for _ in hash_file(path, hashing):
        pass
    return hashing.hexdigest()
