"""What a command prints: text where standard output is a terminal, JSON elsewhere; --json and --no-json decide.

One rule for all commands but `serve`, whose one line is the same everywhere.
"""

import json
import sys
from collections.abc import Iterable

from bildwerk.cli.failure import CommandError
from bildwerk.cli.wrapping import wrapped


def wants_json(asked: bool | None) -> bool:
    """asked: --json or --no-json; None where neither was given."""
    return not sys.stdout.isatty() if asked is None else asked


def write_answer(json_asked: bool | None, facts: object, lines: Iterable[str], indent: int = 0) -> None:
    """One thing that a command has found or done: as a JSON object, or as lines of text."""
    if wants_json(json_asked):
        write_json(facts)
        return
    for line in lines:
        write_line(line, indent)


def write_json(value: object) -> None:
    write_text(json.dumps(value))


def write_line(line: str, indent: int = 0) -> None:
    """Wrapped on a terminal, where further lines begin after `indent` blanks. Raises as `write_text` does."""
    write_text(wrapped(line, sys.stdout, indent))


def write_text(text: str) -> None:
    """As it is. Raises `CommandError` where nothing more is taken, and `BrokenPipeError` where nobody reads on."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"cannot write to standard output: {error.strerror}") from error
