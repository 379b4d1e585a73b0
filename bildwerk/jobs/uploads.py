"""Keeping customers' pictures: within their quota, durable before anybody is told, and no longer than promised."""

import asyncio

from sqlalchemy import Connection

from bildwerk.domain.errors import QuotaExceeded
from bildwerk.domain.upload import Upload
from bildwerk.store import uploads
from bildwerk.store.clock import Now
from bildwerk.store.database import Database
from bildwerk.store.files import Files

BATCH = 500
"""Uploads that one transaction forgets: others that write need not wait for more."""
KEPT_MS = 24 * 3_600_000


def check_quota(connection: Connection, account_id: str, more_bytes: int, max_bytes: int) -> None:
    """Raises `QuotaExceeded` when the account's uploads and `more_bytes` come to more than `max_bytes`."""
    used = uploads.byte_count(connection, account_id)
    if used + more_bytes > max_bytes:
        raise QuotaExceeded(f"the account's stored uploads take {used} of {max_bytes} bytes; this needs {more_bytes}")


async def keep(database: Database, files: Files, upload: Upload, data: bytes, max_bytes: int) -> None:
    """Store the file, then enter it. A file that is refused on entering is taken away again."""

    def enter(connection: Connection) -> None:
        check_quota(connection, upload.account_id, upload.byte_count, max_bytes)
        uploads.add(connection, upload)

    await asyncio.to_thread(files.put, upload.object_key, data)
    try:
        await database.write(enter)
    except QuotaExceeded:
        await asyncio.to_thread(files.delete, upload.object_key)
        raise


async def sweep(database: Database, files: Files, now: Now) -> int:
    """Delete the uploads past their end, batch by batch until none is left; how many there were."""
    deleted, count = 0, BATCH
    while count >= BATCH:
        keys = await database.write(lambda connection: uploads.remove_expired(connection, now(), BATCH))
        for key in keys:
            await asyncio.to_thread(files.delete, key)
        count = len(keys)
        deleted += count
    return deleted
