"""The `Range` header, of which one range is honored."""

import re

from starlette.datastructures import Headers

from bildwerk.domain.errors import RangeNotSatisfiable

MAX_RANGE_CHARACTERS = 100
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


def read_range(headers: Headers, length: int, etag: str) -> tuple[int, int] | None:
    """First and last byte of the one range asked for; None to send everything.

    Raises `RangeNotSatisfiable` for a range outside the file, and for a list of ranges.
    """
    text = headers.get("range")
    if text is None or headers.get("if-range", etag) != etag:
        return None
    if "," in text or len(text) > MAX_RANGE_CHARACTERS:
        raise RangeNotSatisfiable("one byte range at a time")
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = bounds(match[1], match[2], length)
    if not 0 <= first <= last:
        raise RangeNotSatisfiable(f"the file has {length} bytes")
    return first, last


def bounds(first: str, last: str, length: int) -> tuple[int, int]:
    """`5-9`, `5-` or, counted from the end, `-5`."""
    if not first:
        return max(0, length - int(last)), length - 1 if int(last) else -1
    return int(first), min(int(last or length), length - 1)
