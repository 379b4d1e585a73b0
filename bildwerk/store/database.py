"""The database: many readers, and one writer.

What is to be written or read is a plain function of a `Connection`; `writer` says what becomes of those that write.

Making a statement costs ten times what SQLite needs to run it. Statements that run for every request are therefore
made once, as constants of their modules, and take their values as parameters.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from bildwerk.store.writer import Writer, as_storage_error

T = TypeVar("T")
READERS = 4
BUSY_TIMEOUT_MS = 5_000
DURABLE = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
GUEST = (*DURABLE, "wal_autocheckpoint=0")
READ_ONLY = (*DURABLE, "query_only=ON")
IMPATIENT = (*READ_ONLY, "busy_timeout=0")
FIRST_SAFE_SQLITE = (3, 51, 3)
"""Older ones can corrupt a WAL that two connections reset at once (3.7.0 to 3.51.2); one writer avoids it."""


class Database:
    """An open SQLite database in WAL mode with `synchronous=FULL`: an acknowledged write survives a power cut."""

    def __init__(self, path: Path, *, is_guest: bool = False) -> None:
        """`is_guest`: a server has the file open as well, and its writer alone moves the log into the database."""
        self.path = path
        self._writing = sqlite_engine(path, None, GUEST if is_guest else DURABLE)
        self._reading = sqlite_engine(path, None, READ_ONLY)
        self._looking = sqlite_engine(path, None, IMPATIENT).connect()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        self._writer = Writer(self._writing)

    def write(self, run: Callable[[Connection], T]) -> Awaitable[T]:
        """The result of `run(connection)`, once it is durable. Raises what `run` raises, or `StorageUnavailable`.

        It has its place in the queue when this returns, before the result is awaited.
        """
        return self._writer.write(run)

    def write_prepared(self, prepare: Callable[[], Callable[[Connection], T]]) -> Awaitable[T]:
        """`write` of what `prepare` returns, which has a thread to itself and may block, on a disk for instance.

        Raises what either raises, or `StorageUnavailable`.
        """
        return self._writer.write_prepared(prepare)

    async def read(self, run: Callable[[Connection], T]) -> T:
        """The result of `run(connection)` on one consistent snapshot."""
        return await asyncio.wrap_future(self._readers.submit(self.read_blocking, run))

    async def look_up(self, run: Callable[[Connection], T]) -> T:
        """`read` for a few rows by their keys: microseconds, less than asking another thread for them would cost.

        Each statement sees what was committed when it began. To be used from one event loop's thread alone.
        """
        try:
            return run(self._looking)
        except DBAPIError:  # perhaps a lock that will pass; readers have the patience to find out
            return await self.read(run)

    def write_blocking(self, run: Callable[[Connection], T]) -> T:
        """`write` for code without an event loop."""
        return self._writer.write_blocking(run)

    def read_blocking(self, run: Callable[[Connection], T]) -> T:
        try:
            with self._reading.begin() as connection:
                connection.exec_driver_sql("BEGIN")
                return run(connection)
        except DBAPIError as error:
            raise as_storage_error(error) from error

    def close(self) -> None:
        """Finish what is queued, then close every connection."""
        self._writer.close()
        self._readers.shutdown()
        self._looking.close()
        self._looking.engine.dispose()
        self._reading.dispose()
        self._writing.dispose()


def sqlite_engine(path: Path, begin: str | None, pragmas: tuple[str, ...]) -> Engine:
    """An engine whose transactions start with `begin`; the driver's own implicit BEGIN is switched off.

    With None it has no listener at all, which saves a third of the time of every statement: who wants more than a
    statement in a transaction begins it himself.
    """
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        pool_size=READERS,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    if begin is not None:
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def sqlite_warning() -> str | None:
    """A sentence when the SQLite library is older than the first without the WAL-reset defect."""
    if sqlite3.sqlite_version_info >= FIRST_SAFE_SQLITE:
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} is older than 3.51.3, which mends a rare corruption of write-ahead logs; "
        "this service avoids it by writing from one connection"
    )
