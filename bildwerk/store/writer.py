"""The one that writes: functions in order of arrival, one COMMIT a group.

Each function runs behind `BEGIN IMMEDIATE`, all but the first of a group inside a savepoint, and its caller hears of
it only after the COMMIT that made it durable. A function that raises is undone alone; the others of its group are kept.
Whatever arrives while a group runs still joins it; one that is alone when it has run is not made to wait for others,
and nothing joins a first one that raises.
"""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from bildwerk.domain.errors import StorageUnavailable
from bildwerk.store.statement import execute

T = TypeVar("T")
MAX_GROUP = 64
PREPARERS = 8
JOIN_SECONDS = 0.00005
"""How long a group of several is kept open for what is about to arrive: others have their turn, and may write, too."""

Outcome = tuple[Any, Exception | None]
"""What a function returned, or what it raised."""
Settling = list[tuple["asyncio.Future[Any] | Future[Any]", Outcome]]


@dataclass(frozen=True, slots=True)
class _Job:
    """`waiter` belongs to `loop`, or, where that is None, to a thread."""

    run: Callable[[Connection], Any]
    waiter: "asyncio.Future[Any] | Future[Any]"
    loop: asyncio.AbstractEventLoop | None


class Writer:
    """A thread and its queue, on an engine without listeners. One connection stays open until something fails on it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._is_over = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._preparers = ThreadPoolExecutor(PREPARERS, thread_name_prefix="database-preparer")
        self._thread = threading.Thread(target=self._write_groups, name="database-writer", daemon=True)
        self._thread.start()

    def write(self, run: Callable[[Connection], T]) -> Awaitable[T]:
        """The result of `run(connection)`, for a task. It has its place in the queue when this returns."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(run, waiter, loop))
        return waiter

    def write_prepared(self, prepare: Callable[[], Callable[[Connection], T]]) -> Awaitable[T]:
        """`write` of what `prepare` returns on a thread where it may block; what it raises is raised here.

        The loop is not asked in between: a thread that has done its part hands on to the next.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._preparers.submit(self._prepare, prepare, waiter, loop)
        return waiter

    def _prepare(
        self,
        prepare: Callable[[], Callable[[Connection], T]],
        waiter: "asyncio.Future[T]",
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        if waiter.cancelled():
            return
        try:
            self._jobs.put(_Job(prepare(), waiter, loop))
        except Exception as error:
            wake(loop, [(waiter, (None, error))])

    def write_blocking(self, run: Callable[[Connection], T]) -> T:
        """The result of `run(connection)`, for a thread."""
        waiter: Future[T] = Future()
        self._jobs.put(_Job(run, waiter, None))
        return waiter.result()

    def close(self) -> None:
        """Finish what is queued, and what is being prepared."""
        self._preparers.shutdown()
        self._jobs.put(None)
        self._thread.join()

    def _write_groups(self) -> None:
        while not self._is_over and (first := self._jobs.get()) is not None:
            if not first.waiter.cancelled():
                self._commit(first)
        self._hang_up()

    def _commit(self, first: _Job) -> None:
        """One group in one transaction, and then its outcomes."""
        group = [first]
        try:
            connection = self._connected()
            execute(connection, "BEGIN IMMEDIATE")
            outcomes = [outcome_of(connection, first.run)]
            if outcomes[0][1] is None:
                outcomes += [in_savepoint(connection, job.run) for job in self._join(group)]
                execute(connection, "COMMIT")
            else:
                execute(connection, "ROLLBACK")
        except Exception as error:  # the COMMIT or the whole transaction failed: nothing of the group is there
            self._throw_away()
            outcomes = [(None, as_storage_error(error))] * len(group)
        deliver(group, outcomes)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _throw_away(self) -> None:
        """Close what something failed on. SQLite undoes what is open on it, even where it could not roll back."""
        if self._connection is not None:
            self._connection.invalidate()
        self._hang_up()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _join(self, group: list[_Job]) -> Iterator[_Job]:
        """Whatever arrives before the last of `group` has run; each is in `group` when it runs."""
        while len(group) < MAX_GROUP and (job := self._next_waiting(JOIN_SECONDS if group[1:] else 0)) is not None:
            group.append(job)
            yield job

    def _next_waiting(self, seconds: float) -> _Job | None:
        """The next whose caller still wants it; None where none comes in time, or it is the queue's end."""
        with suppress(queue.Empty):
            while (job := self._jobs.get(timeout=seconds)) is not None:
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
            wake(loop, of_loop)


def wake(loop: asyncio.AbstractEventLoop, outcomes: "Settling") -> None:
    with suppress(RuntimeError):  # it is closed: nobody waits any more
        loop.call_soon_threadsafe(settle, outcomes)


def settle(outcomes: "Settling") -> None:
    for waiter, (result, failure) in outcomes:
        if waiter.cancelled():
            continue
        if failure is None:
            waiter.set_result(result)
        else:
            waiter.set_exception(failure)


def in_savepoint(connection: Connection, run: Callable[[Connection], Any]) -> Outcome:
    """What `run` returned, or what it raised after its own writes were undone."""
    execute(connection, "SAVEPOINT one")
    result, failure = outcome_of(connection, run)
    if failure is not None:
        execute(connection, "ROLLBACK TO SAVEPOINT one")
    execute(connection, "RELEASE SAVEPOINT one")
    return result, failure


def outcome_of(connection: Connection, run: Callable[[Connection], Any]) -> Outcome:
    """A failure of the database itself (disk full, I/O error) is raised on: SQLite may have dropped the transaction."""
    try:
        return run(connection), None
    except Exception as error:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
            raise
        return None, error


def as_storage_error(error: Exception) -> Exception:
    if isinstance(error, IntegrityError) or not isinstance(error, DBAPIError):
        return error
    return StorageUnavailable(f"the database does not answer: {error.orig}")
