"""What is brought into a model's folder, and how far that is."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bildwerk.checkpoints.listing import Listing, RemoteFile


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a repository, and where it goes in the model's folder."""

    target: str
    file: RemoteFile
    listing: Listing

    @property
    def source(self) -> str:
        return f"{self.listing.repository}@{self.listing.commit}:{self.file.path}"


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done; `kept_bytes` are there already, `resumed_bytes` of them from a pull that did not end."""

    folder: Path
    files: int
    total_bytes: int
    kept_bytes: int
    resumed_bytes: int

    @property
    def missing_bytes(self) -> int:
        return self.total_bytes - self.kept_bytes


class Work(StrEnum):
    """What is being done to a file."""

    CHECK = "check"
    """Read, to see whether it is what it should be."""
    FETCH = "fetch"
    """Brought from the hub."""
    TAKE = "take"
    """Taken over from this machine."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """`done` of `total` bytes of a file, and `all_done` of `all_total` bytes of all files."""

    work: Work
    path: str
    done: int
    total: int
    all_done: int
    all_total: int
