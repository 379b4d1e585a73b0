"""Sentences in lines of a terminal's width; elsewhere, one line each, for programs."""

import os
import textwrap
from typing import TextIO

NARROWEST = 20
UNKNOWN_WIDTH = 80


def wrapped(line: str, stream: TextIO, indent: int = 0) -> str:
    """The line as it is written to `stream`: further lines begin after `indent` blanks. No word is ever broken."""
    if not stream.isatty():
        return line
    width = terminal_width(stream)
    if len(line) <= width:
        return line
    begin = " " * min(indent, width - NARROWEST)
    return textwrap.fill(
        line,
        width,
        subsequent_indent=begin,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )


def terminal_width(stream: TextIO) -> int:
    """COLUMNS where it is set, as everywhere; never so narrow that nothing could be read."""
    try:
        width = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        width = UNKNOWN_WIDTH
    return max(width or UNKNOWN_WIDTH, 2 * NARROWEST)
