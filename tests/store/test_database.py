"""One writer in order of arrival, one COMMIT a group, each function undone alone."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from bildwerk.domain.errors import InsufficientBalance, StorageUnavailable
from bildwerk.store.database import Database


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


def test_a_broken_constraint_is_that_functions_own_fault(database: Database):
    database.write_blocking(lambda connection: add(connection, 1))
    with pytest.raises(IntegrityError):
        database.write_blocking(lambda connection: add(connection, 1))
    database.write_blocking(lambda connection: add(connection, 2))
    assert database.read_blocking(numbers) == [1, 2]


def test_what_waits_is_committed_together_in_order_of_arrival(database: Database):
    release = threading.Event()
    commits = [0]

    async def write_many() -> None:
        blocked = asyncio.create_task(database.write(lambda connection: release.wait(10) and None))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(database.write(lambda c, n=n: add(c, n))) for n in range(20)]
        await asyncio.sleep(0.05)
        release.set()
        await asyncio.gather(blocked, *waiting)

    from sqlalchemy import event

    event.listen(database._writing, "commit", lambda connection: commits.__setitem__(0, commits[0] + 1))
    asyncio.run(write_many())
    assert database.read_blocking(numbers) == list(range(20))
    assert commits == [2]


def test_a_database_that_cannot_be_written_says_so_and_recovers(database: Database):
    with pytest.raises(StorageUnavailable):
        database.write_blocking(lambda connection: connection.execute(text("INSERT INTO missing VALUES (1)")))
    database.write_blocking(lambda connection: add(connection, 1))
    assert database.read_blocking(numbers) == [1]


def test_readers_cannot_write(database: Database):
    with pytest.raises(StorageUnavailable):
        database.read_blocking(lambda connection: add(connection, 1))


def test_a_guest_may_write_beside_the_server(database: Database):
    guest = Database(database.path, is_guest=True)
    guest.write_blocking(lambda connection: add(connection, 7))
    guest.close()
    assert database.read_blocking(numbers) == [7]
