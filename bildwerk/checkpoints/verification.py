"""Is every file of a model still what it was when it came? Read in full and compared with the recorded SHA-256."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.folder_lock import locked
from bildwerk.checkpoints.hashing import hash_file
from bildwerk.checkpoints.manifest import Record, read_manifest, write_manifest
from bildwerk.checkpoints.wanted import Transfer, Work


class Verdict(StrEnum):
    OK = "ok"
    DAMAGED = "damaged"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Verified:
    """One file. `reason` is a clause where it is not whole."""

    path: str
    verdict: Verdict
    record: Record
    reason: str = ""


def verify(folder: Path) -> Iterator[Transfer | Verified]:
    """Each recorded file, in the order of their names. Raises `CheckpointError`.

    What is found is recorded, so that a damaged file is not used until it has been replaced.
    """
    files = read_manifest(folder).files
    total = sum(record.size for record in files.values())
    before = 0
    judged: list[Verified] = []
    for path, record in sorted(files.items()):
        hashing = hashlib.sha256()
        reason = ""
        try:
            for done in hash_file(folder / path, hashing):
                yield Transfer(Work.CHECK, path, done, record.size, min(before + done, total), total)
        except OSError as error:
            reason = f"it cannot be read: {error.strerror}"
        judged.append(_judged(folder, path, record, reason or _compared(record, hashing.hexdigest())))
        yield judged[-1]
        before += record.size
    if judged:
        _write_down(folder, judged)


def _compared(record: Record, sha256: str) -> str:
    return "" if sha256 == record.sha256 else f"its SHA-256 begins with {sha256[:12]}, but was {record.sha256[:12]}"


def _judged(folder: Path, path: str, record: Record, reason: str) -> Verified:
    if not os.path.lexists(folder / path):
        return Verified(path, Verdict.MISSING, record, "it is not there")
    return Verified(path, Verdict.DAMAGED if reason else Verdict.OK, record, reason)


def _write_down(folder: Path, judged: Sequence[Verified]) -> None:
    """Unless the folder may only be read, or is being filled: it is verified all the same."""
    with suppress(CheckpointError, OSError), locked(folder):
        manifest = read_manifest(folder)
        found = {one.path: _as_found(folder / one.path, one) for one in judged if one.verdict is not Verdict.MISSING}
        current = {path: record for path, record in found.items() if _is_same(manifest.files.get(path), record)}
        if manifest.with_files(current) != manifest:
            write_manifest(folder, manifest.with_files(current))


def _as_found(file: Path, one: Verified) -> Record:
    if one.verdict is Verdict.DAMAGED:
        return replace(one.record, damaged=True)
    return replace(one.record, damaged=False, modified_ns=file.lstat().st_mtime_ns)


def _is_same(current: Record | None, found: Record) -> bool:
    """Whether the file was not replaced since."""
    return current is not None and current.sha256 == found.sha256
