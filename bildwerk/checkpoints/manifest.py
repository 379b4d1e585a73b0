"""What is known of the files in a model's folder: where each came from, and the SHA-256 that it had when it came.

Kept beside them as `bildwerk-files.json`; a folder that was filled by other means has none.
"""

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.listing import is_plain
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.json_file import read_json

NAME = "bildwerk-files.json"
VERSION = 1
MAX_BYTES = 4 * 2**20
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Record:
    """One file. `content_id` is what the hub knows it by, `source` what it came from, for people to read.

    `modified_ns` is when it was last written, as the file system says: a file of that time and `size` is taken for
    the same without reading it. A file found `damaged` stays so until it is replaced.
    """

    size: int
    sha256: str
    content_id: str
    source: str
    modified_ns: int
    damaged: bool = False

    def is_as_recorded(self, path: Path) -> bool:
        """By size and time alone."""
        try:
            found = path.lstat()
        except OSError:
            return False
        return not self.damaged and (found.st_size, found.st_mtime_ns) == (self.size, self.modified_ns)


@dataclass(frozen=True, slots=True)
class Manifest:
    """By the path in the model's folder."""

    files: Mapping[str, Record] = field(default_factory=dict)

    def with_files(self, files: Mapping[str, Record]) -> "Manifest":
        return replace(self, files={**self.files, **files})


def read_manifest(folder: Path) -> Manifest:
    """An empty one where there is none. Raises `CheckpointError` where it is damaged."""
    path = folder / NAME
    if not os.path.lexists(path):
        return Manifest()
    try:
        return _parsed(read_json(path, MAX_BYTES))
    except (WeightsError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}); delete it and pull or import the model again, which keeps the files that "
            "are whole"
        ) from error


def _parsed(table: dict[str, Any]) -> Manifest:
    match table:
        case {"version": int(version), "files": dict(entries)} if version == VERSION:
            return Manifest({path: _record(path, entry) for path, entry in entries.items()})
        case _:
            raise ValueError(f"it is not of version {VERSION}")


def _record(path: str, entry: Any) -> Record:
    record = Record(**entry)
    for name, kind in (("size", int), ("sha256", str), ("content_id", str), ("source", str), ("modified_ns", int)):
        if type(getattr(record, name)) is not kind:
            raise TypeError(f"{name} of {path[:80]!r} is not of type {kind.__name__}")
    if not is_plain(path) or not SHA256.fullmatch(record.sha256) or type(record.damaged) is not bool:
        raise ValueError(f"the entry {path[:80]!r} makes no sense")
    return record


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Whole or not at all."""
    entries = {path: asdict(record) for path, record in sorted(manifest.files.items())}
    part = folder / f".{NAME}.{secrets.token_hex(4)}"
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump({"version": VERSION, "files": entries}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / NAME)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
