"""Statements that the driver runs itself say what SQLAlchemy would say."""

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    Text,
    bindparam,
    create_engine,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from bildwerk.store.statement import Statement, execute

NUMBERS = Table(
    "numbers",
    MetaData(),
    Column("n", Integer, primary_key=True),
    Column("name", Text, nullable=False, server_default=text("'nameless'")),
    Column("is_odd", Boolean),
)
ADD = Statement(insert(NUMBERS))
BY_NUMBER = Statement(select(NUMBERS).where(NUMBERS.c.n == bindparam("wanted")))
FROM_TWO = Statement(select(NUMBERS).where(NUMBERS.c.n >= 2).order_by(NUMBERS.c.n))
RENAME = Statement(update(NUMBERS).where(NUMBERS.c.n == bindparam("wanted"), NUMBERS.c.name != "fixed"))


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    with engine.connect() as opened:
        NUMBERS.create(opened)
        yield opened
    engine.dispose()


def test_an_insert_sets_the_columns_that_are_given(connection: Connection):
    ADD.run(connection, {"n": 1, "is_odd": True})
    ADD.run(connection, {"n": 2, "name": "two"})
    assert connection.execute(select(NUMBERS)).all() == [(1, "nameless", True), (2, "two", None)]


def test_rows_have_the_names_of_their_columns(connection: Connection):
    for number in (3, 1, 2):
        ADD.run(connection, {"n": number, "name": str(number)})
    assert [(row.n, row.name) for row in FROM_TWO.rows(connection, {})] == [(2, "2"), (3, "3")]


def test_a_row_by_its_key_is_there_or_not(connection: Connection):
    ADD.run(connection, {"n": 1})
    row = BY_NUMBER.row(connection, {"wanted": 1})
    assert row is not None
    assert row.name == "nameless"
    assert BY_NUMBER.row(connection, {"wanted": 2}) is None


def test_an_update_says_how_many_rows_it_changed(connection: Connection):
    ADD.run(connection, {"n": 1, "name": "fixed"})
    ADD.run(connection, {"n": 2})
    changed = [RENAME.run(connection, {"wanted": number, "name": "new"}) for number in (1, 2, 3)]
    assert changed == [0, 1, 0]


def test_a_value_that_is_missing_is_no_null(connection: Connection):
    with pytest.raises(DBAPIError):
        BY_NUMBER.row(connection, {})


@pytest.mark.parametrize(
    ("words", "kind"), [("INSERT INTO numbers VALUES (1, 'a', 0)", IntegrityError), ("SELECT x", OperationalError)]
)
def test_what_the_driver_refuses_is_raised_as_by_sqlalchemy(connection: Connection, words: str, kind: type[DBAPIError]):
    ADD.run(connection, {"n": 1})
    with pytest.raises(kind):
        execute(connection, words)


def test_an_error_keeps_the_values_to_itself(connection: Connection):
    ADD.run(connection, {"n": 1})
    with pytest.raises(IntegrityError) as raised:
        ADD.run(connection, {"n": 1, "name": "a secret prompt"})
    assert "secret" not in str(raised.value)
