"""The database of a server, opened beside it by a command: as a guest, and for as long as the command runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bildwerk.cli.environment import environment_settings
from bildwerk.store.data_folder import DataFolder, open_data_folder
from bildwerk.store.database import Database


@contextmanager
def guest_database(data_dir: Path | None) -> Iterator[tuple[DataFolder, Database]]:
    """The folder, by default the one that the environment names, and its database. Raises `SetupError`."""
    folder = open_data_folder(data_dir or environment_settings().data_dir)
    database = Database(folder.database_path, is_guest=True)
    try:
        yield folder, database
    finally:
        database.close()
