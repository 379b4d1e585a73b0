"""Bringing a database to the schema that this version speaks: all of the way or not at all, after a backup."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Engine

from bildwerk.domain.errors import SetupError
from bildwerk.store.database import DURABLE, sqlite_engine

FOLDER = Path(__file__).with_name("migrations")


def migrate(path: Path) -> None:
    """Create or upgrade the database at `path`. Raises `SetupError` for one of a newer version."""
    engine = sqlite_engine(path, "BEGIN IMMEDIATE", DURABLE)
    try:
        before = current_revision(engine)
        if before == head_revision():
            return
        if before is not None:
            back_up(engine, path.with_name(f"{path.name}.backup-{before}"))
        upgrade(engine)
    except CommandError as error:
        raise SetupError(f"{path} was written by a newer version of Bildwerk: install that one ({error})") from error
    finally:
        engine.dispose()


def upgrade(engine: Engine) -> None:
    config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def current_revision(engine: Engine) -> str | None:
    with engine.begin() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str | None:
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


def back_up(engine: Engine, target: Path) -> None:
    """A whole and consistent copy, in place of one that an interrupted upgrade left."""
    target.unlink(missing_ok=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("VACUUM INTO ?", (str(target),))


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config
