"""Statements that the driver runs itself say what SQLAlchemy would say."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    Select,
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
from sqlalchemy.sql.dml import UpdateBase

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


WANTED = NUMBERS.c.n.in_(bindparam("wanted", expanding=True))
LISTS = {
    "a select": select(NUMBERS).where(WANTED),
    "an update": update(NUMBERS).where(WANTED),
    "a list that is written out": select(NUMBERS).where(NUMBERS.c.n.in_([1, 2])),
    "a select within an insert": insert(NUMBERS).inline().values(n=select(NUMBERS.c.n).where(WANTED).scalar_subquery()),
    "a select within a select": select(select(NUMBERS.c.n).where(WANTED).scalar_subquery()),
}


@pytest.mark.parametrize("written", LISTS.values(), ids=LISTS)
def test_a_list_of_any_length_is_refused_when_the_statement_is_made(written: Select[Any] | UpdateBase):
    with pytest.raises(ValueError, match=r"in_.*list.*SQLAlchemy"):
        Statement(written)


@pytest.mark.parametrize(
    ("words", "kind"), [("INSERT INTO numbers VALUES (1, 'a', 0)", IntegrityError), ("SELECT x", OperationalError)]
)
def test_what_the_driver_refuses_is_raised_as_by_sqlalchemy(connection: Connection, words: str, kind: type[DBAPIError]):
    ADD.run(connection, {"n": 1})
    with pytest.raises(kind):
        execute(connection, words)


def test_what_goes_wrong_at_a_later_row_is_raised_as_by_sqlalchemy(connection: Connection):
    ADD.run(connection, {"n": 2, "name": "two"})
    execute(connection, "INSERT INTO numbers VALUES (3, CAST(x'ff' AS TEXT), 0)")
    with pytest.raises(OperationalError):
        FROM_TWO.rows(connection, {})


def test_an_error_keeps_the_values_to_itself(connection: Connection):
    ADD.run(connection, {"n": 1})
    with pytest.raises(IntegrityError) as raised:
        ADD.run(connection, {"n": 1, "name": "a secret prompt"})
    assert "secret" not in str(raised.value)
