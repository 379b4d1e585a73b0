"""Sizes as people write them: 512x512, 768*512, or 512 for a square."""

import re

from bildwerk.cli.failure import UsageError

PATTERN = re.compile(r"(\d{1,6})(?:\s*[x*×]\s*(\d{1,6}))?", re.IGNORECASE)


def parse_size(text: str) -> tuple[int, int]:
    """Width and height in pixels; whether a model makes such a size is not asked here.

    Raises `UsageError` for anything that is not a size.
    """
    match = PATTERN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"size {text[:40]!r} is not a width and a height in pixels, such as 512x512")
    width, height = match.groups()
    return int(width), int(height or width)
