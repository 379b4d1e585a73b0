"""One writer in order of arrival, one COMMIT a group, each function undone alone."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from bildwerk.domain.errors import InsufficientBalance, StorageUnavailable
from bildwerk.store import writer
from bildwerk.store.database import Database
from bildwerk.store.statement import execute
from bildwerk.store.writer import MAX_GROUP, PREPARERS


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "numbers.db")
    opened.write_blocking(lambda connection: connection.execute(text("CREATE TABLE numbers(n INTEGER PRIMARY KEY)")))
    yield opened
    opened.close()


def add(connection: Connection, number: int) -> None:
    connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": number})


def numbers(connection: Connection) -> list[int]:
    return list(connection.execute(text("SELECT n FROM numbers ORDER BY rowid")).scalars())


def traced(database: Database) -> list[str]:
    """The statements that the writer's connection runs from now on."""
    statements: list[str] = []

    def trace(connection: Connection) -> None:
        connection.connection.driver_connection.set_trace_callback(statements.append)

    database.write_blocking(trace)
    statements.clear()
    return statements


def test_an_acknowledged_write_is_durable(database: Database):
    settings = database.write_blocking(
        lambda connection: [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
    )
    assert settings == ["wal", 2]


def test_a_function_that_raises_is_undone_alone(database: Database):
    def add_and_fail(connection: Connection) -> None:
        add(connection, 2)
        raise InsufficientBalance

    async def write_three() -> list[object]:
        writes = [lambda c: add(c, 1), add_and_fail, lambda c: add(c, 3)]
        return await asyncio.gather(*(database.write(write) for write in writes), return_exceptions=True)

    outcomes = asyncio.run(write_three())
    assert [type(outcome) for outcome in outcomes] == [type(None), InsufficientBalance, type(None)]
    assert database.read_blocking(numbers) == [1, 3]


def test_the_first_of_a_group_is_undone_alone_too(database: Database):
    release = threading.Event()

    def add_and_fail(connection: Connection) -> None:
        release.wait(10)
        add(connection, 1)
        raise InsufficientBalance

    async def write_all() -> list[object]:
        writes = [database.write(add_and_fail), database.write(lambda connection: add(connection, 2))]
        release.set()
        return await asyncio.gather(*writes, return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(write_all())] == [InsufficientBalance, type(None)]
    assert database.read_blocking(numbers) == [2]


def test_a_write_that_is_alone_needs_no_savepoint(database: Database):
    statements = traced(database)
    database.write_blocking(lambda connection: add(connection, 1))
    assert [words.split()[0] for words in statements] == ["BEGIN", "INSERT", "COMMIT"]


def test_a_write_that_fails_alone_needs_no_second_transaction(database: Database):
    statements = traced(database)
    with pytest.raises(InsufficientBalance):
        database.write_blocking(raise_insufficient_balance)
    database.write_blocking(lambda connection: add(connection, 1))
    assert [words.split()[0] for words in statements] == ["BEGIN", "INSERT", "ROLLBACK", "BEGIN", "INSERT", "COMMIT"]


def test_what_a_thread_prepares_is_written_without_asking_the_loop(database: Database):
    prepared_on, added, heard = [], threading.Event(), []

    def prepare() -> Callable[[Connection], str]:
        prepared_on.append(threading.current_thread().name.split("_")[0])
        return lambda connection: (add(connection, 1), added.set(), "done")[-1]

    async def write() -> str:
        writing = database.write_prepared(prepare)
        heard.append(added.wait(60))  # the loop stands still meanwhile
        return await writing

    assert asyncio.run(write()) == "done"
    assert (prepared_on, heard, database.read_blocking(numbers)) == (["database-preparer"], [True], [1])


def test_what_cannot_be_prepared_is_told_to_who_waits(database: Database):
    def prepare() -> Callable[[Connection], None]:
        raise InsufficientBalance

    async def write() -> None:
        async with asyncio.timeout(60):
            await database.write_prepared(prepare)

    with pytest.raises(InsufficientBalance):
        asyncio.run(write())


def test_what_nobody_wants_any_more_is_not_prepared(database: Database):
    release, prepared = threading.Event(), []

    def prepare(number: int) -> Callable[[Connection], None]:
        release.wait(60)
        prepared.append(number)
        return lambda connection: None

    async def write_and_leave() -> None:
        busy = [database.write_prepared(lambda n=n: prepare(n)) for n in range(PREPARERS)]
        unwanted = asyncio.ensure_future(database.write_prepared(lambda: prepare(PREPARERS)))
        unwanted.cancel()
        release.set()
        await asyncio.gather(*busy)
        await asyncio.to_thread(database.close)

    asyncio.run(write_and_leave())
    assert sorted(prepared) == list(range(PREPARERS))


def test_what_is_being_prepared_at_the_end_is_written(database: Database):
    begun, release = threading.Event(), threading.Event()

    def prepare() -> Callable[[Connection], None]:
        begun.set()
        release.wait(60)
        return lambda connection: add(connection, 1)

    async def write_and_close() -> None:
        writing = database.write_prepared(prepare)
        begun.wait(60)
        closing = asyncio.create_task(asyncio.to_thread(database.close))
        await asyncio.sleep(0.05)  # so that the closing has begun
        release.set()
        async with asyncio.timeout(60):
            await asyncio.gather(closing, writing)

    asyncio.run(write_and_close())
    again = Database(database.path)
    assert again.read_blocking(numbers) == [1]
    again.close()


def test_a_broken_constraint_is_that_functions_own_fault(database: Database):
    database.write_blocking(lambda connection: add(connection, 1))
    with pytest.raises(IntegrityError):
        database.write_blocking(lambda connection: add(connection, 1))
    database.write_blocking(lambda connection: add(connection, 2))
    assert database.read_blocking(numbers) == [1, 2]


@pytest.mark.parametrize(("count", "expected"), [(20, 1), (MAX_GROUP, 2)])
def test_what_arrives_while_a_group_runs_joins_it_in_order_up_to_a_limit(database: Database, count: int, expected: int):
    release, statements = threading.Event(), traced(database)

    async def write_many() -> None:
        blocked = database.write(lambda connection: release.wait(10) and None)
        waiting = [database.write(lambda connection, n=n: add(connection, n)) for n in range(count)]
        release.set()
        await asyncio.gather(blocked, *waiting)

    asyncio.run(write_many())
    assert database.read_blocking(numbers) == list(range(count))
    assert statements.count("COMMIT") == expected


def test_what_waited_at_the_end_is_written(database: Database):
    async def write_and_close() -> None:
        waiting = [database.write(lambda connection, n=n: add(connection, n)) for n in range(3)]
        await asyncio.to_thread(database.close)
        await asyncio.gather(*waiting)

    asyncio.run(write_and_close())
    again = Database(database.path)
    assert again.read_blocking(numbers) == [0, 1, 2]
    again.close()


def test_a_group_whose_transaction_fails_is_refused_as_a_whole(database: Database):
    release = threading.Event()

    async def write_two() -> list[object]:
        first = database.write(lambda connection: (release.wait(10), add(connection, 1)))
        second = database.write(lambda connection: connection.execute(text("INSERT INTO missing VALUES (1)")))
        release.set()
        return await asyncio.gather(first, second, return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(write_two())] == [StorageUnavailable, StorageUnavailable]
    assert database.read_blocking(numbers) == []


def test_a_look_up_sees_what_was_acknowledged_before_it(database: Database):
    async def write_and_look() -> list[list[int]]:
        seen = []
        for number in range(3):
            await database.write(lambda connection, n=number: add(connection, n))
            seen.append(await database.look_up(numbers))
        return seen

    assert asyncio.run(write_and_look()) == [[0], [0, 1], [0, 1, 2]]


def test_a_look_up_that_meets_a_lock_is_left_to_a_reader(database: Database):
    threads = []

    def locked_at_first(connection: Connection) -> list[int]:
        threads.append(threading.current_thread().name.split("_")[0])
        if len(threads) == 1:
            raise OperationalError("SELECT", {}, sqlite3.OperationalError("database is locked"))
        return numbers(connection)

    assert asyncio.run(database.look_up(locked_at_first)) == []
    assert threads == ["MainThread", "database-reader"]


def test_a_look_up_cannot_write(database: Database):
    with pytest.raises(StorageUnavailable):
        asyncio.run(database.look_up(lambda connection: add(connection, 1)))


def test_a_database_that_cannot_be_written_says_so_and_recovers(database: Database):
    with pytest.raises(StorageUnavailable):
        database.write_blocking(lambda connection: connection.execute(text("INSERT INTO missing VALUES (1)")))
    database.write_blocking(lambda connection: add(connection, 1))
    assert database.read_blocking(numbers) == [1]


def test_a_transaction_that_cannot_begin_is_refused(database: Database):
    database.write_blocking(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=0"))
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        database.write_blocking(lambda connection: add(connection, 1))
    other.execute("ROLLBACK")
    other.close()
    database.write_blocking(lambda connection: add(connection, 2))
    assert database.read_blocking(numbers) == [2]


def test_groups_share_a_connection_until_a_transaction_fails(database: Database):
    def driver(connection: Connection) -> object:
        return connection.connection

    before = database.write_blocking(driver)
    with pytest.raises(InsufficientBalance):
        database.write_blocking(raise_insufficient_balance)
    assert database.write_blocking(driver) is before
    with pytest.raises(StorageUnavailable):
        database.write_blocking(lambda connection: connection.execute(text("INSERT INTO missing VALUES (1)")))
    assert database.write_blocking(driver) is not before


def raise_insufficient_balance(connection: Connection) -> None:
    add(connection, 7)
    raise InsufficientBalance


def test_a_commit_that_fails_leaves_nothing_behind(database: Database):
    def prepare(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE children(n INTEGER REFERENCES numbers DEFERRABLE INITIALLY DEFERRED)"))

    database.write_blocking(prepare)
    with pytest.raises(IntegrityError):  # a deferred constraint is checked by the COMMIT
        database.write_blocking(lambda connection: connection.execute(text("INSERT INTO children VALUES (1)")))
    database.write_blocking(lambda connection: add(connection, 2))
    assert database.read_blocking(numbers) == [2]
    assert database.read_blocking(lambda connection: connection.execute(text("SELECT n FROM children")).all()) == []


def test_a_reader_sees_one_snapshot(database: Database):
    def read_twice(connection: Connection) -> list[list[int]]:
        before = numbers(connection)
        database.write_blocking(lambda writer: add(writer, 1))
        return [before, numbers(connection)]

    assert database.read_blocking(read_twice) == [[], []]


def test_what_nobody_wants_any_more_is_not_written(database: Database):
    release = threading.Event()

    async def write_and_leave() -> None:
        blocked = database.write(lambda connection: release.wait(10) and None)
        unwanted = asyncio.ensure_future(database.write(lambda connection: add(connection, 1)))
        wanted = database.write(lambda connection: add(connection, 2))
        unwanted.cancel()
        release.set()
        await asyncio.gather(blocked, wanted)

    asyncio.run(write_and_leave())
    assert database.read_blocking(numbers) == [2]


def test_readers_cannot_write(database: Database):
    with pytest.raises(StorageUnavailable):
        database.read_blocking(lambda connection: add(connection, 1))


def test_a_guest_may_write_beside_the_server(database: Database):
    guest = Database(database.path, is_guest=True)
    guest.write_blocking(lambda connection: add(connection, 7))
    guest.close()
    assert database.read_blocking(numbers) == [7]


def test_a_connection_that_cannot_roll_back_is_thrown_away(database: Database, monkeypatch: pytest.MonkeyPatch):
    """The thread that writes goes on: without it nothing would ever be answered again."""

    def refuse(_connection: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    def add_and_fail(connection: Connection) -> None:
        add(connection, 1)
        connection.execute(text("INSERT INTO missing VALUES (1)"))

    async def write(run: Callable[[Connection], None]) -> None:
        async with asyncio.timeout(60):
            await database.write(run)

    with monkeypatch.context() as patched:
        patched.setattr(database._writing.dialect, "do_rollback", refuse)
        with pytest.raises(StorageUnavailable):
            asyncio.run(write(add_and_fail))
    asyncio.run(write(lambda connection: add(connection, 2)))
    assert database.read_blocking(numbers) == [2]


def test_a_group_that_cannot_be_committed_is_refused_and_undone(database: Database, monkeypatch: pytest.MonkeyPatch):
    def full_at_commit(connection: Connection, words: str) -> object:
        if words == "COMMIT":
            raise OperationalError(words, {}, sqlite3.OperationalError("database or disk is full"))
        return execute(connection, words)

    with monkeypatch.context() as patched:
        patched.setattr(writer, "execute", full_at_commit)
        with pytest.raises(StorageUnavailable):
            database.write_blocking(lambda connection: add(connection, 1))
    database.write_blocking(lambda connection: add(connection, 2))
    assert database.read_blocking(numbers) == [2]
