"""What to say where the packages that compute are not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from bildwerk.cli.failure import CommandError
from bildwerk.cli.machine import ENGINE_PACKAGES


@contextmanager
def needed_for(purpose: str) -> Iterator[None]:
    """Raises `CommandError` where an import in this block finds one of them missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ENGINE_PACKAGES:
            raise
        raise CommandError(
            f"{purpose} needs {error.name}, which is not installed: pip install 'bildwerk[engine]'"
        ) from error
