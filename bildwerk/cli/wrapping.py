"""Sentences in lines of a terminal's width; elsewhere, one line each, for programs."""

import os
import re
from typing import TextIO

WORD = re.compile(r"(\s*)(\S+)")
NARROWEST = 20
UNKNOWN_WIDTH = 80


def wrapped(line: str, stream: TextIO, indent: int = 0) -> str:
    """The line as it is written to `stream`: further lines begin after `indent` blanks.

    No word is ever broken: one that is longer than a line, such as a path, stays where it is for the terminal to fold.
    """
    if not stream.isatty():
        return line
    width = terminal_width(stream)
    begin = " " * min(indent, width - NARROWEST)
    lines = [""]
    for blanks, word in WORD.findall(line):
        if lines[-1].strip() and len(lines[-1] + blanks + word) > width >= len(begin + word):
            lines.append(begin + word)
        else:
            lines[-1] += blanks + word
    return "\n".join(lines)


def terminal_width(stream: TextIO) -> int:
    """COLUMNS where it is set, as everywhere; never so narrow that nothing could be read."""
    try:
        width = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        width = UNKNOWN_WIDTH
    return max(width or UNKNOWN_WIDTH, 2 * NARROWEST)
