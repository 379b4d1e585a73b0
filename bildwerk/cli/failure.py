"""How a command ends when it does not end well."""

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    EXPECTED = 1
    """Explained in one line."""
    BUG = 3
    """A traceback lies in a file whose path was printed."""
    INTERRUPTED = 130


class CommandError(Exception):
    """Something the person can mend; the text is the one line that they read."""
