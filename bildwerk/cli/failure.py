"""How a command ends when it does not end well."""

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    EXPECTED = 1
    """Explained in one sentence."""
    USAGE = 2
    """Explained in one sentence: the command line itself has to be another one."""
    BUG = 3
    """A traceback lies in a file whose path was printed."""
    INTERRUPTED = 130


class CommandError(Exception):
    """Something the person can mend; the text is the one sentence that they read."""


class UsageError(CommandError):
    """What was typed can mean nothing on any machine; the text names it and what is legal."""
