"""A model's files go, and nothing else: no link is followed, and half of a model is never left in its place."""

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.folder_lock import locked
from bildwerk.checkpoints.folder_use import unused


@dataclass(frozen=True, slots=True)
class Holding:
    """What a model's folder holds. Of files with a second name elsewhere, `shared_bytes`, removal frees nothing.

    `is_link`: the folder is a link, and what it leads to is not ours to remove.
    """

    folder: Path
    own_bytes: int
    shared_bytes: int
    is_link: bool


def holding(folder: Path) -> Holding:
    """Raises `CheckpointError` where nothing is there."""
    if folder.is_symlink():
        return Holding(folder, 0, 0, is_link=True)
    left = _aside(folder)
    if not folder.is_dir() and not left.is_dir():
        raise CheckpointError(f"there is no folder {folder}: nothing is to be removed")
    own = shared = 0
    for status in (path.lstat() for root in (folder, left) for path in _files(root)):
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            shared += status.st_size
        else:
            own += status.st_size
    return Holding(folder, own, shared, is_link=False)


def remove(found: Holding) -> None:
    """Raises `CheckpointError` where the folder is used or being filled, or cannot be removed."""
    folder, aside = found.folder, _aside(found.folder)
    with locked(folder), unused(folder):
        try:
            if found.is_link:
                folder.unlink()
                return
            if aside.is_dir():  # a removal that was broken off
                shutil.rmtree(aside)
            if folder.is_dir():
                folder.rename(aside)
                shutil.rmtree(aside)
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be removed: {error.strerror}: {error.filename}") from error


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.removing")


def _files(root: Path) -> Iterator[Path]:
    """Whatever is no folder. Links are not followed."""
    for parent, _, names in os.walk(root):
        yield from (Path(parent, name) for name in names)
