"""Nothing new is accepted on a disk that could not store what comes of it."""

from bildwerk.api.context import Context
from bildwerk.domain.errors import StorageUnavailable


def require_free_disk(context: Context) -> None:
    """Raises `StorageUnavailable` before anything is held or received."""
    least = context.settings.limits.free_disk_bytes
    if context.files.free_bytes() < least:
        raise StorageUnavailable("the disk is nearly full; nothing new is accepted", retry_after=60)
