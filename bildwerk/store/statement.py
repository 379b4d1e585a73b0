"""Statements that many requests run: written with SQLAlchemy, translated once, and run by the driver itself.

SQLAlchemy's own way through a statement is long. In a process that has just been idle, so that none of it is in the
processor's caches, it takes 100 to 150 us each time, and SQLite's part of that is 10 to 30.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Mapping
from typing import Any

from sqlalchemy import BindParameter, Connection, Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import UpdateBase

DIALECT = sqlite.dialect(paramstyle="named")

Values = Mapping[str, Any]
"""By the names of a statement's `bindparam`s and of the columns that an insert or an update sets."""
EMPTY: Values = {}


class Statement:
    """A select, an insert, or an update, with what it gives back.

    Its rows are named tuples as SQLite has them: a boolean is 0 or 1. Raises SQLAlchemy's `DBAPIError`s. It cannot have
    an `in_` with a list, which is refused when it is made.
    """

    def __init__(self, written: Select[*tuple[Any, ...]] | UpdateBase) -> None:
        refuse_lists(written)
        self._written = written
        self._translations: dict[tuple[str, ...], tuple[str, dict[str, Any]]] = {}
        self._row_type = row_type(written)

    def rows(self, connection: Connection, values: Values) -> list[Any]:
        text, filled = self._filled(values)
        cursor = execute(connection, text, filled)
        try:
            return [self._row_type._make(row) for row in cursor.fetchall()]
        except sqlite3.Error as error:  # at any row: the driver reads on only when it is asked for them
            raise as_sqlalchemys(text, error) from error

    def row(self, connection: Connection, values: Values) -> Any | None:
        """The one row there is, or None. For statements that name a row by its key."""
        rows = self.rows(connection, values)
        return rows[0] if rows else None

    def run(self, connection: Connection, values: Values) -> int:
        """How many rows were written."""
        return execute(connection, *self._filled(values)).rowcount

    def _filled(self, values: Values) -> tuple[str, Values]:
        """The text, and all values that it needs."""
        text, constants = self._translated(tuple(values))
        return text, {**constants, **values}

    def _translated(self, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
        """The text for values of these names, and the values that it has of its own."""
        found = self._translations.get(names)
        if found is None:
            compiled = self._written.compile(dialect=DIALECT, column_keys=names)
            own = {name: bind.value for bind, name in compiled.bind_names.items() if not bind.required}
            found = self._translations[names] = str(compiled), own
        return found


def refuse_lists(written: Select[*tuple[Any, ...]] | UpdateBase) -> None:
    """Raises `ValueError` for `in_` with a list of any length: a text that is translated once has places for one."""
    for each in visitors.iterate(written):
        if isinstance(each, BindParameter) and each.expanding:
            raise ValueError(f"`in_` with the list {each.key!r} cannot be a Statement: have SQLAlchemy execute it")


def row_type(written: Select[*tuple[Any, ...]] | UpdateBase) -> Any:
    """A named tuple of the columns that a statement gives back, if any."""
    return namedtuple("Row", [str(column.key) for column in written.exported_columns])


def execute(connection: Connection, text: str, values: Values = EMPTY) -> sqlite3.Cursor:
    """Have the driver itself run `text`. Raises SQLAlchemy's `DBAPIError`s."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    try:
        return driver.execute(text, values)
    except sqlite3.Error as error:
        raise as_sqlalchemys(text, error) from error


def as_sqlalchemys(text: str, error: sqlite3.Error) -> BaseException:
    """The `DBAPIError` that SQLAlchemy would raise, without the values."""
    return DBAPIError.instance(text, None, error, sqlite3.Error)
