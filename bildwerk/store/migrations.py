"""Bringing the database to the schema that this version speaks."""

from pathlib import Path

from bildwerk.store.database import DURABLE, sqlite_engine
from bildwerk.store.schema import metadata


def migrate(path: Path) -> None:
    engine = sqlite_engine(path, "BEGIN IMMEDIATE", DURABLE)
    with engine.begin() as connection:
        metadata.create_all(connection)
    engine.dispose()
