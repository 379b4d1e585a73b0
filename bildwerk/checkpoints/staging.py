"""Files on their way into a model's folder: they wait until all are whole, and then take their places together.

A model that is in its place stays as it is until the last byte of the next one has come. What a killed process leaves
is gone on with.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.manifest import Record, read_manifest, sync_folder, write_manifest
from bildwerk.checkpoints.wanted import Wanted

NAME = ".incoming"
PUBLISHING = ".publishing"


@dataclass(frozen=True, slots=True)
class Staging:
    """Beside the files of the model `folder`, so that taking their places is a rename."""

    folder: Path
    name: str = NAME

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def part(self, one: Wanted) -> Path:
        """What has come of a file."""
        return self.path / f"{_key(one)}.part"

    def aside(self, one: Wanted) -> Path:
        """A file of this machine that may be the wanted one."""
        return self.path / f"{_key(one)}.aside"

    def whole(self, one: Wanted) -> Path:
        """The file, all of it and verified."""
        return self.path / f"{_key(one)}.whole"

    def create(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)

    def publish(self, arrived: Mapping[str, Path], records: Mapping[str, Record]) -> None:
        """Put every file in its place and write down what it is. `records` may name files that lie there already."""
        self.create()
        mark = self.folder / PUBLISHING
        mark.touch()
        sync_folder(self.folder)
        for target, whole in arrived.items():
            place = self.folder / target
            place.parent.mkdir(exist_ok=True)
            if place.parent != self.folder and place.parent.is_symlink():
                raise CheckpointError(f"{place.parent} is a link: nothing is written through it; remove it")
            whole.replace(place)
            sync_folder(place.parent)
        write_manifest(self.folder, read_manifest(self.folder).with_files(records))
        mark.unlink()
        self.discard()

    def discard(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def discard_if_empty(self) -> None:
        """After a failure before the first byte, as if nothing had been."""
        for part in self.path.glob("*.part"):
            if size_of(part) == 0:
                part.unlink()
        for folder in (self.path, self.folder):
            with contextlib.suppress(OSError):
                folder.rmdir()


def is_half_published(folder: Path) -> bool:
    """Whether files of two different pulls may lie in a model's folder."""
    return os.path.lexists(folder / PUBLISHING)


def bytes_on_the_way(folder: Path) -> int:
    """What an unfinished pull has left in a model's folder."""
    try:
        return sum(size_of(path) or 0 for path in (folder / NAME).iterdir())
    except OSError:
        return 0


def _key(one: Wanted) -> str:
    return hashlib.sha256(f"{one.target}\n{one.file.content_id}".encode()).hexdigest()[:32]


def size_of(path: Path) -> int | None:
    """Bytes of a regular file; None where there is none."""
    try:
        return path.lstat().st_size if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None
