"""Files that are on this machine already become a model's. They are checked first, hashed, and only ever read."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bildwerk.checkpoints.adoptable import adoptable_files
from bildwerk.checkpoints.disk_space import FreeBytes, free_bytes, require_room
from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.folder_lock import locked
from bildwerk.checkpoints.hashing import hash_file
from bildwerk.checkpoints.manifest import Record
from bildwerk.checkpoints.placing import Manner, can_share, place
from bildwerk.checkpoints.staging import Staging
from bildwerk.checkpoints.wanted import Planned, Transfer, Work

NAME = ".taking-over"
"""Beside what an unfinished pull left, which stays."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """Everything is in its place. `manners` says of each file that was not there before how it was taken over."""

    folder: Path
    manners: Mapping[str, Manner]


def adopt(
    path: Path, folder: Path, *, may_share: bool = True, free: FreeBytes = free_bytes
) -> Iterator[Planned | Transfer | Adopted]:
    """path: a model's folder, a snapshot of the hub's cache, or one file of weights; folder: the model's own.

    Raises `CheckpointError` for what is no model's and where there is no room; then nothing has changed.
    """
    sources = adoptable_files(path)
    with locked(folder):
        staging = Staging(folder, NAME)
        staging.discard()
        try:
            yield from _adopt(sources, staging, may_share, free)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be taken over: {error}") from error
        finally:
            staging.discard()
            staging.discard_if_empty()


def _adopt(
    sources: Mapping[str, Path], staging: Staging, may_share: bool, free: FreeBytes
) -> Iterator[Planned | Transfer | Adopted]:
    folder = staging.folder
    sizes = {target: source.stat().st_size for target, source in sources.items()}
    own = [target for target, source in sources.items() if _is_in_place(source, folder / target)]
    copied = [
        target for target in sources if target not in own and not (may_share and can_share(sources[target], folder))
    ]
    total = sum(sizes.values())
    yield Planned(folder, len(sources), total, sum(sizes[target] for target in own), 0)
    require_room(folder, sum(sizes[target] for target in copied), free)
    staging.create()
    arrived: dict[str, Path] = {}
    manners: dict[str, Manner] = {}
    records: dict[str, Record] = {}
    before = 0
    for target, source in sources.items():
        file = source
        if target not in own:
            file = arrived[target] = staging.path / f"{len(arrived)}.whole"
            manners[target] = place(source, file, may_share=may_share)
        hashing = hashlib.sha256()
        for done in hash_file(file, hashing):
            yield Transfer(Work.TAKE, target, done, sizes[target], min(before + done, total), total)
        before += sizes[target]
        records[target] = _record(file, hashing.hexdigest(), source)
    staging.publish(arrived, records)
    yield Adopted(folder, manners)


def _record(file: Path, sha256: str, source: Path) -> Record:
    found = file.lstat()
    return Record(found.st_size, sha256, sha256, str(source), found.st_mtime_ns)


def _is_in_place(source: Path, target: Path) -> bool:
    return target.exists() and not target.is_symlink() and source == target.resolve()
