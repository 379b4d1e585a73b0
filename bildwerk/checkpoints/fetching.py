"""One file from the hub to the disk: gone on with where an earlier attempt stopped; whole by its hash, or refused."""

import time
from collections.abc import Iterator

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.hub import Hub, TransientError
from bildwerk.checkpoints.manifest import sync_folder
from bildwerk.checkpoints.part_file import PartFile, open_part
from bildwerk.checkpoints.staging import Staging
from bildwerk.checkpoints.unreachable import WAY_OUT
from bildwerk.checkpoints.wanted import Wanted

PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds before each further attempt; they begin anew whenever bytes have come."""


def fetch(hub: Hub, one: Wanted, staging: Staging, pauses: tuple[float, ...] = PAUSES) -> Iterator[int]:
    """Bring a file to its place in `staging`. Yields how many of its bytes are there.

    Raises `CheckpointError`; then what can be gone on with is kept, and what is damaged is gone.
    """
    part = staging.part(one)
    with open_part(part, one.file) as opened:
        yield from opened.take_up()
        was_there = opened.size > 0
        yield from _fill(hub, one, opened, pauses)
        if not opened.is_whole and was_there:
            opened.restart()
            yield from _fill(hub, one, opened, pauses)
        is_whole = opened.is_whole
        opened.sync()
    if not is_whole:
        part.unlink()
        raise CheckpointError(
            f"{one.file.path} of {one.listing.repository} arrived damaged: its hash is not {one.file.content_id}, "
            "which the hub promised. It is not used; run this again to fetch it anew"
        )
    part.rename(staging.whole(one))
    sync_folder(staging.path)


def _fill(hub: Hub, one: Wanted, part: PartFile, pauses: tuple[float, ...]) -> Iterator[int]:
    """Until all bytes are there."""
    failures = 0
    while part.size < one.file.size:
        before = part.size
        try:
            yield from _append(hub, one, part)
        except TransientError as error:
            failures = 1 if part.size > before else failures + 1
            if failures > len(pauses):
                raise CheckpointError(
                    f"{one.file.path} of {one.listing.repository} cannot be fetched: {error}; the files before it and "
                    f"{part.size:,} of its {one.file.size:,} bytes are kept; {WAY_OUT}"
                ) from error
            time.sleep(pauses[failures - 1])


def _append(hub: Hub, one: Wanted, part: PartFile) -> Iterator[int]:
    with hub.body(one.listing, one.file, part.size) as body:
        if body.start != part.size:
            part.restart()
        for chunk in body.chunks:
            if part.size + len(chunk) > one.file.size:
                part.restart()
                raise TransientError(f"more than the {one.file.size:,} bytes of the file came")
            part.append(chunk)
            yield part.size
    if part.size < one.file.size:
        raise TransientError(f"the connection ended after {part.size:,} bytes")
