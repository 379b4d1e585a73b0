"""A large file that is there whole, or not at all, and never in the place of another."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bildwerk.weights.errors import WeightsError

KEPT_FREE = 2**28
"""Bytes of a disk that are left to others."""


def check_room(path: Path, size: int) -> None:
    """Raises `WeightsError` where something is at `path`, or its folder is missing, or its disk is too full."""
    if os.path.lexists(path):
        raise _taken(path)
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: there is no folder {path.parent}") from error
    if free < size + KEPT_FREE:
        raise WeightsError(
            f"{path} cannot be written: it takes {size:,} bytes beside {KEPT_FREE:,} that stay free, but the disk has "
            f"only {free:,} left"
        )


@contextmanager
def new_file(path: Path, size: int) -> Iterator[BinaryIO]:
    """To be filled with `size` bytes, in any order; it appears at `path` when all went well. Raises `WeightsError`."""
    check_room(path, size)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.truncate(size)
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(part, path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _publish(part: Path, path: Path) -> None:
    """By a second name, since renaming would replace a file that came in the meantime."""
    try:
        os.link(part, path)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError:  # a file system without second names
        if os.path.lexists(path):
            raise _taken(path) from None
        part.rename(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(path: Path) -> WeightsError:
    return WeightsError(f"{path} is there already, and is not overwritten: move it away or choose another name")
