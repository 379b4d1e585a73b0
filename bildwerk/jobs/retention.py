"""What is not kept: pictures past their end, requests that their owners did not want remembered, and files of nobody.

A picture's row says first that it has expired, and only then is its file deleted, so that at no moment a picture is
promised that is not there. What a crash leaves between the two is swept up as a file of nobody.
"""

import asyncio
import json

from sqlalchemy import Connection, select, update

from bildwerk.store.clock import Now
from bildwerk.store.database import Database
from bildwerk.store.files import Files
from bildwerk.store.schema import outputs, predictions, uploads

HOUR_MS = 3_600_000
ORPHAN_AGE_SECONDS = 86_400.0
BATCH = 500


async def delete_expired_outputs(database: Database, files: Files, now: Now) -> int:
    """Delete the pictures whose retention is over, batch by batch until none is left; how many there were."""
    deleted, is_full = 0, True
    while is_full:
        keys, is_full = await database.write(lambda connection: expire_outputs(connection, now()))
        for key in keys:
            await asyncio.to_thread(files.delete, key)
        deleted += len(keys)
    return deleted


async def erase_requests(database: Database, now: Now) -> int:
    """Erase prompts and bodies whose retention is over, batch by batch until none is left; how many there were."""
    erased, count = 0, BATCH
    while count >= BATCH:
        count = await database.write(lambda connection: erase_due(connection, now()))
        erased += count
    return erased


async def sweep_orphans(database: Database, files: Files) -> int:
    """Delete the pictures older than a day that nothing names, such as a lost claim's; how many there were."""
    old = await asyncio.to_thread(files.keys_older_than, ORPHAN_AGE_SECONDS)
    named = await database.read(kept_keys)
    orphans = [key for key in old if key not in named]
    for key in orphans:
        await asyncio.to_thread(files.delete, key)
    return len(orphans)


def expire_outputs(connection: Connection, now: int) -> tuple[list[str], bool]:
    """Mark a batch of predictions whose pictures have expired; their pictures' keys, and whether the batch was full."""
    due = (
        select(predictions.c.id)
        .where(predictions.c.outputs_expire_at <= now, predictions.c.outputs_expired_at.is_(None))
        .limit(BATCH)
    )
    ids = list(connection.execute(due).scalars())
    connection.execute(update(predictions).where(predictions.c.id.in_(ids)).values(outputs_expired_at=now))
    keys = connection.execute(select(outputs.c.object_key).where(outputs.c.prediction_id.in_(ids))).scalars()
    return list(keys), len(ids) >= BATCH


def erase_due(connection: Connection, now: int) -> int:
    rows = connection.execute(
        select(predictions.c.id, predictions.c.input)
        .where(predictions.c.request_erased_at.is_(None))
        .where(predictions.c.finished_at + predictions.c.request_hours * HOUR_MS <= now)
        .limit(BATCH)
    ).all()
    for row in rows:
        kept = json.dumps({**json.loads(row.input), "prompt": ""})
        erased = {"input": kept, "request_body": "{}", "request_erased_at": now}
        connection.execute(update(predictions).where(predictions.c.id == row.id).values(**erased))
    return len(rows)


def kept_keys(connection: Connection) -> set[str]:
    """The keys of all pictures whose retention is not over, and of all uploads."""
    pictures = (
        select(outputs.c.object_key)
        .join(predictions, predictions.c.id == outputs.c.prediction_id)
        .where(predictions.c.outputs_expired_at.is_(None))
    )
    return set(connection.execute(pictures.union_all(select(uploads.c.object_key))).scalars())
