"""What a command prints: text where standard output is a terminal, JSON elsewhere; --json and --no-json decide.

One rule for all commands but `serve`, whose one line is the same everywhere.
"""

import json
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence

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


def write_table(
    json_asked: bool | None,
    facts: Iterable[object],
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Collection[str] = (),
) -> None:
    """Things that a command has found: a JSON object a line, or a row each under `headings`, `numbers` to the right."""
    if wants_json(json_asked):
        for each in facts:
            write_json(each)
        return
    for line in aligned(headings, rows, numbers):
        write_line(line)


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = ()) -> Iterator[str]:
    """The headings and the rows, in columns as wide as they need. Nothing where there are no rows."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows) if rows else ():
        cells = [
            cell.rjust(width) if heading in numbers else cell.ljust(width)
            for cell, width, heading in zip(row, widths, headings, strict=True)
        ]
        yield "  ".join(cells).rstrip()


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
