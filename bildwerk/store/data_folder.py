"""The folder that holds everything a server keeps: database, pictures, secrets; for its owner's eyes only.

One server at a time: it holds a lock on the folder for as long as it lives, however it ends.
"""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from bildwerk.domain.errors import SetupError
from bildwerk.store.secrets import Secrets, load_secrets


@dataclass(frozen=True, slots=True)
class DataFolder:
    path: Path
    secrets: Secrets

    @property
    def database_path(self) -> Path:
        return self.path / "bildwerk.db"

    @property
    def files_path(self) -> Path:
        return self.path / "files"

    @property
    def credentials_path(self) -> Path:
        """Where the first start writes the first key."""
        return self.path / "initial-credentials"


def create_data_folder(path: Path) -> DataFolder:
    """Make the folder if it is not there, and its secrets. Raises `SetupError` where that is not possible."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        return DataFolder(path, load_secrets(path))
    except OSError as error:
        raise SetupError(f"the data folder {path} cannot be used: {error.strerror}") from error


def open_data_folder(path: Path) -> DataFolder:
    """A folder that a server has used before. Raises `SetupError`."""
    if not (path / "bildwerk.db").is_file():
        raise SetupError(
            f"there is no data in {path}: start a server on it first, with bildwerk serve --data-dir {path}"
        )
    return create_data_folder(path)


class FolderLock:
    """Held until the process ends. Raises `SetupError` when another server holds it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise SetupError(
                f"another server (process {holder or 'unknown'}) is using the data folder {path}"
            ) from None
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)
