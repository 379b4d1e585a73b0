"""The database: many readers, one writer with a first-in-first-out queue and one COMMIT a group.

What is to be written is a plain function of a `Connection`. `write` runs it inside its own savepoint on the writer's
thread, behind `BEGIN IMMEDIATE`, and returns only after the COMMIT that made it durable. A function that raises is
undone alone; the others of its group are kept. Whatever arrives while a group runs still joins it.

Making a statement costs ten times what SQLite needs to run it. Statements that run for every request are therefore
made once, as constants of their modules, and take their values as parameters.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError

from bildwerk.domain.errors import StorageUnavailable

T = TypeVar("T")
MAX_GROUP = 64
JOIN_SECONDS = 0.00005
"""How long a group is kept open for what is about to arrive: long enough for another thread to take its turn."""
READERS = 4
BUSY_TIMEOUT_MS = 5_000
DURABLE = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
GUEST = (*DURABLE, "wal_autocheckpoint=0")
READ_ONLY = (*DURABLE, "query_only=ON")
IMPATIENT = (*READ_ONLY, "busy_timeout=0")
FIRST_SAFE_SQLITE = (3, 51, 3)
"""Older ones can corrupt a WAL that two connections reset at once (3.7.0 to 3.51.2); one writer avoids it."""


Outcome = tuple[Any, Exception | None]
"""What a function returned, or what it raised."""


@dataclass(frozen=True, slots=True)
class _Job:
    """`waiter` belongs to `loop`, or, where that is None, to a thread."""

    run: Callable[[Connection], Any]
    waiter: "asyncio.Future[Any] | Future[Any]"
    loop: asyncio.AbstractEventLoop | None


class Database:
    """An open SQLite database in WAL mode with `synchronous=FULL`: an acknowledged write survives a power cut."""

    def __init__(self, path: Path, *, is_guest: bool = False) -> None:
        """`is_guest`: a server has the file open as well, and its writer alone moves the log into the database."""
        self.path = path
        self._writing = sqlite_engine(path, None, GUEST if is_guest else DURABLE)
        self._reading = sqlite_engine(path, None, READ_ONLY)
        self._looking = sqlite_engine(path, None, IMPATIENT).connect()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        self._is_over = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_groups, name="database-writer", daemon=True)
        self._writer.start()

    def write(self, run: Callable[[Connection], T]) -> Awaitable[T]:
        """The result of `run(connection)`, once it is durable. Raises what `run` raises, or `StorageUnavailable`.

        It has its place in the queue when this returns, before the result is awaited.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(run, waiter, loop))
        return waiter

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
        waiter: Future[T] = Future()
        self._jobs.put(_Job(run, waiter, None))
        return waiter.result()

    def read_blocking(self, run: Callable[[Connection], T]) -> T:
        try:
            with self._reading.begin() as connection:
                connection.exec_driver_sql("BEGIN")
                return run(connection)
        except DBAPIError as error:
            raise as_storage_error(error) from error

    def close(self) -> None:
        """Finish what is queued, then close every connection."""
        self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown()
        self._looking.close()
        self._looking.engine.dispose()
        self._reading.dispose()
        self._writing.dispose()

    def _write_groups(self) -> None:
        with self._writing.connect() as connection:
            while not self._is_over and (first := self._jobs.get()) is not None:
                if not first.waiter.cancelled():
                    self._commit(connection, first)

    def _commit(self, connection: Connection, first: _Job) -> None:
        """One group in one transaction, and then its outcomes."""
        group = [first]
        try:
            with connection.begin():
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                outcomes = [in_savepoint(connection, job.run) for job in self._join(group)]
        except Exception as error:  # the COMMIT or the whole transaction failed: nothing of the group is there
            outcomes = [(None, as_storage_error(error))] * len(group)
        deliver(group, outcomes)

    def _join(self, group: list[_Job]) -> Iterator[_Job]:
        """The one job of `group`, then whatever arrives before the last has run; each is in `group` when it runs."""
        yield group[0]
        while len(group) < MAX_GROUP and (job := self._next_waiting()) is not None:
            group.append(job)
            yield job

    def _next_waiting(self) -> _Job | None:
        """The next whose caller still wants it; None where there is none, or it is the queue's end."""
        with suppress(queue.Empty):
            while (job := self._jobs.get(timeout=JOIN_SECONDS)) is not None:
                if not job.waiter.cancelled():
                    return job
            self._is_over = True
        return None


def deliver(group: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
    """To each its outcome; a loop is woken once and gets all of its own together."""
    for loop in {job.loop for job in group}:
        of_loop = [(job.waiter, outcome) for job, outcome in zip(group, outcomes, strict=True) if job.loop is loop]
        if loop is None:
            settle(of_loop)
        else:
            with suppress(RuntimeError):  # it is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, of_loop)


def settle(outcomes: "list[tuple[asyncio.Future[Any] | Future[Any], Outcome]]") -> None:
    for waiter, (result, failure) in outcomes:
        if waiter.cancelled():
            continue
        if failure is None:
            waiter.set_result(result)
        else:
            waiter.set_exception(failure)


def in_savepoint(connection: Connection, run: Callable[[Connection], Any]) -> Outcome:
    """What `run` returned, or what it raised after its own writes were undone.

    A failure of the database itself (disk full, I/O error) is raised on: SQLite may have dropped the transaction.
    """
    connection.exec_driver_sql("SAVEPOINT one")  # begin_nested does the same in four times the time
    try:
        result, failure = run(connection), None
    except Exception as error:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
            raise
        result, failure = None, error
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT one")
    connection.exec_driver_sql("RELEASE SAVEPOINT one")
    return result, failure


def as_storage_error(error: Exception) -> Exception:
    if isinstance(error, IntegrityError) or not isinstance(error, DBAPIError):
        return error
    return StorageUnavailable(f"the database does not answer: {error.orig}")


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
