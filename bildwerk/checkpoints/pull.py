"""Bring files of the hub into a model's folder: what is there already is kept, the rest is fetched and verified.

Progress is yielded; whoever stops iterating has cancelled.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bildwerk.checkpoints.disk_space import FreeBytes, free_bytes, require_room
from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.fetching import PAUSES, fetch
from bildwerk.checkpoints.folder_lock import locked
from bildwerk.checkpoints.hashing import hash_file, sha256_of
from bildwerk.checkpoints.hub import Hub
from bildwerk.checkpoints.manifest import Manifest, Record, read_manifest
from bildwerk.checkpoints.placing import can_share, place
from bildwerk.checkpoints.staging import Staging, size_of
from bildwerk.checkpoints.wanted import Planned, Transfer, Wanted, Work


@dataclass(frozen=True, slots=True)
class Pulled:
    """Everything is in its place. `fetched` names what was not there before."""

    folder: Path
    fetched: Sequence[str]


PullEvent = Planned | Transfer | Pulled


@dataclass(slots=True)
class Stock:
    """What lies where, by target: `present` in the model's folder, `whole` and `partial` on the way to it."""

    present: dict[str, Record] = field(default_factory=dict)
    whole: dict[str, Path] = field(default_factory=dict)
    partial: dict[str, int] = field(default_factory=dict)


def pull(
    hub: Hub,
    wanted: Sequence[Wanted],
    folder: Path,
    *,
    free: FreeBytes = free_bytes,
    pauses: tuple[float, ...] = PAUSES,
) -> Iterator[PullEvent]:
    """Raises `CheckpointError`; what was fetched until then is gone on with next time."""
    with locked(folder):
        staging, stock = Staging(folder), Stock()
        try:
            yield from _take_stock(wanted, staging, stock)
            cached = _cached(hub.access.cache, wanted, stock)
            yield _plan(folder, wanted, stock)
            require_room(folder, _bytes_to_write(wanted, stock, cached, folder), free)
            staging.create()
            yield from _bring(hub, wanted, Bringing(staging, stock, cached, pauses))
            arrived = {one.target: _record(one, stock.whole[one.target]) for one in _absent(wanted, stock)}
            staging.publish(stock.whole, stock.present | arrived)
        except OSError as error:
            raise CheckpointError(f"the files of {folder} cannot be written: {error}") from error
        finally:
            staging.discard_if_empty()
        yield Pulled(folder, tuple(stock.whole))


def _absent(wanted: Sequence[Wanted], stock: Stock) -> list[Wanted]:
    return [one for one in wanted if one.target not in stock.present]


def _take_stock(wanted: Sequence[Wanted], staging: Staging, stock: Stock) -> Iterator[Transfer]:
    manifest = read_manifest(staging.folder)
    for one in wanted:
        yield from _find_present(one, staging.folder, manifest, stock)
        if one.target in stock.present:
            continue
        part, whole = staging.part(one), staging.whole(one)
        if size_of(whole) == one.file.size:
            stock.whole[one.target] = whole
        elif (size := size_of(part)) is not None and size <= one.file.size:
            stock.partial[one.target] = size


def _find_present(one: Wanted, folder: Path, manifest: Manifest, stock: Stock) -> Iterator[Transfer]:
    """A file as the manifest has it is taken for what it was; any other of the right size is read."""
    path = folder / one.target
    record = manifest.files.get(one.target)
    if record and record.content_id == one.file.content_id and record.is_as_recorded(path):
        stock.present[one.target] = record
    elif size_of(path) == one.file.size:
        hashing = one.file.hashing()
        for done in hash_file(path, hashing):
            yield Transfer(Work.CHECK, one.target, done, one.file.size, done, one.file.size)
        if hashing.hexdigest() == one.file.content_id:
            stock.present[one.target] = _record(one, path)


def _cached(cache: Path, wanted: Sequence[Wanted], stock: Stock) -> Mapping[str, Path]:
    """What the cache of huggingface_hub holds already, by target."""
    found = {}
    for one in _absent(wanted, stock):
        blob = cache / f"models--{one.listing.repository.replace('/', '--')}" / "blobs" / one.file.content_id
        if one.target not in stock.whole and size_of(blob) == one.file.size:
            found[one.target] = blob
    return found


def _plan(folder: Path, wanted: Sequence[Wanted], stock: Stock) -> Planned:
    sizes = {one.target: one.file.size for one in wanted}
    present = sum(sizes[target] for target in stock.present)
    resumed = sum(sizes[target] for target in stock.whole) + sum(stock.partial.values())
    return Planned(folder, len(wanted), sum(sizes.values()), present + resumed, resumed)


def _bytes_to_write(wanted: Sequence[Wanted], stock: Stock, cached: Mapping[str, Path], folder: Path) -> int:
    return sum(
        one.file.size - stock.partial.get(one.target, 0)
        for one in _absent(wanted, stock)
        if one.target not in stock.whole and not (one.target in cached and can_share(cached[one.target], folder))
    )


@dataclass(frozen=True, slots=True)
class Bringing:
    """What the files are brought with: `cached` are those that lie in the cache of huggingface_hub, by target."""

    staging: Staging
    stock: Stock
    cached: Mapping[str, Path]
    pauses: tuple[float, ...]


def _bring(hub: Hub, wanted: Sequence[Wanted], tools: Bringing) -> Iterator[Transfer]:
    total = sum(one.file.size for one in wanted)
    left = [one for one in _absent(wanted, tools.stock) if one.target not in tools.stock.whole]
    before = total - sum(one.file.size for one in left)
    for one in left:
        for done in _bring_one(hub, one, tools):
            yield Transfer(Work.FETCH, one.target, done, one.file.size, before + done, total)
        tools.stock.whole[one.target] = tools.staging.whole(one)
        before += one.file.size


def _bring_one(hub: Hub, one: Wanted, tools: Bringing) -> Iterator[int]:
    if one.target in tools.cached:
        yield from _take_from_cache(one, tools.cached[one.target], tools.staging)
    if not tools.staging.whole(one).exists():
        yield from fetch(hub, one, tools.staging, tools.pauses)


def _take_from_cache(one: Wanted, blob: Path, staging: Staging) -> Iterator[int]:
    """The file aside is only read: it may be the cache's own under another name."""
    aside = staging.aside(one)
    aside.unlink(missing_ok=True)
    place(blob, aside)
    hashing = one.file.hashing()
    yield from hash_file(aside, hashing)
    if hashing.hexdigest() == one.file.content_id:
        aside.replace(staging.whole(one))
    else:
        aside.unlink()


def _record(one: Wanted, path: Path) -> Record:
    """path: where the file lies now; a rename changes neither its size nor its time."""
    sha256 = one.file.sha256 or sha256_of(path)
    return Record(one.file.size, sha256, one.file.content_id, one.source, path.stat().st_mtime_ns)
