"""Where the LoRA files of a model lie: in one folder, `NAME.safetensors` each. Needs no torch.

Names come from strangers. A file is opened in its folder alone, never through a path or a link.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bildwerk.weights.errors import WeightsError

SUFFIX = ".safetensors"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME_RULE = "1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit"
MAX_FILE_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class LoraPlace:
    """One file, which may or may not be there. `title` is what messages call it."""

    folder: Path
    file_name: str
    title: str

    @staticmethod
    def named(folder: Path, name: str) -> "LoraPlace":
        """Raises `WeightsError` for what is no name."""
        if not is_name(name):
            raise WeightsError(f"{name[:80]!a} is not the name of a LoRA: a name is {NAME_RULE}")
        return LoraPlace(folder, name + SUFFIX, f"the LoRA {name}")

    @staticmethod
    def of_file(path: Path) -> "LoraPlace":
        """Wherever an owner's own file lies. Raises `WeightsError` where its path leads nowhere."""
        try:
            target = path.expanduser().resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise WeightsError(f"{path} is missing or cannot be reached") from error
        return LoraPlace(target.parent, target.name, str(path))

    def version(self) -> str:
        """Another text after every change of the file. Raises `WeightsError` where no ordinary file is there."""
        with self.opened() as file:
            return version_of(file)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Raises `WeightsError` for everything that is no ordinary file in that folder, of a size that is read."""
        try:
            descriptor = open_in(self.folder, self.file_name)
        except OSError as error:
            raise WeightsError(f"{self.title} {REASONS.get(error.errno or 0, 'cannot be read')}") from error
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise WeightsError(f"{self.title} is not a regular file")
            if facts.st_size > MAX_FILE_BYTES:
                raise WeightsError(f"{self.title} has {facts.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)


def open_in(folder: Path, file_name: str) -> int:
    """A descriptor to read from, that waits for no pipe. Raises `OSError`, also for a link."""
    parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return os.open(file_name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)


REASONS = {errno.ENOENT: "is not there", errno.ELOOP: "is a link, and links are not followed"}


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


def version_of(file: BinaryIO) -> str:
    facts = os.fstat(file.fileno())
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def lora_names(folder: Path) -> list[str]:
    """Those of the files in `folder`, sorted; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            files = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except OSError:
        return []
    names = (file.removesuffix(SUFFIX) for file in files if file.endswith(SUFFIX))
    return sorted(name for name in names if is_name(name))
