"""Migrations lead to the schema that the code speaks, all of the way or not at all."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bildwerk.domain.errors import SetupError
from bildwerk.store import migrate as migrate_module
from bildwerk.store.database import DURABLE, sqlite_engine
from bildwerk.store.migrate import migrate
from bildwerk.store.schema import metadata


def definitions(path: Path) -> set[str]:
    """The SQL of every table and index."""
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'")
        return {parts_of(row[0]) for row in rows}


def parts_of(sql: str) -> str:
    """Its words in alphabetical order, since the order of a table's constraints does not matter."""
    return " ".join(sorted(re.split(r"[\s,()]+", sql)))


def test_the_migrations_make_the_schema_that_the_code_speaks(tmp_path: Path):
    migrate(tmp_path / "migrated.db")
    engine = sqlite_engine(tmp_path / "declared.db", "BEGIN", DURABLE)
    metadata.create_all(engine)
    engine.dispose()
    assert definitions(tmp_path / "migrated.db") == definitions(tmp_path / "declared.db")


def test_an_up_to_date_database_is_left_alone(tmp_path: Path):
    path = tmp_path / "bildwerk.db"
    migrate(path)
    migrate(path)
    assert sorted(each.name for each in tmp_path.glob("*backup*")) == []


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path):
    path = tmp_path / "bildwerk.db"
    migrate(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    with pytest.raises(SetupError, match="newer version"):
        migrate(path)


def test_an_upgrade_backs_up_first_and_is_undone_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "bildwerk.db"
    migrate(path)
    before = definitions(path)

    def half_way(engine: object) -> None:
        with engine.begin() as connection:  # type: ignore[attr-defined]
            connection.exec_driver_sql("CREATE TABLE half(n INTEGER)")
            raise RuntimeError("the power is gone")

    monkeypatch.setattr(migrate_module, "head_revision", lambda: "0002")
    monkeypatch.setattr(migrate_module, "upgrade", half_way)
    with pytest.raises(RuntimeError):
        migrate(path)
    assert definitions(path) == before == definitions(tmp_path / "bildwerk.db.backup-0001")
