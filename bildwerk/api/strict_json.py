"""Bytes from a stranger become a JSON object, or an `InvalidJson` that says why not.

Stricter than `json.loads`, because a lenient reading is where two readers of one body come to differ: no duplicate
keys, no NaN or Infinity, no numbers of a thousand digits, no byte order mark, no unpaired surrogates, and limits on
depth, on the number of values and on everything that is not picture data.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from bildwerk.domain.errors import InvalidJson

MAX_DEPTH = 32
MAX_VALUES = 20_000
MAX_BYTES_WITHOUT_PICTURES = 1_000_000
MAX_DIGITS = 25

_PICTURE = re.compile(rb'"(?:data:[\w.+/;=\\-]{0,200},)?+[A-Za-z0-9+=_-]*+(?:\\?/[A-Za-z0-9+=_-]*+)*+"')
"""A string that holds a data URI or plain base64 (some encoders write `/` as `\\/`)."""
_PICTURE_MIN_BYTES = 1024
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string; an unfinished one reaches to the end, so that the search is linear in every body."""
_OPENING, _CLOSING = b"[{", b"]}"


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Raises `InvalidJson` for anything else and for what the module's limits forbid."""
    check_structure(body)
    value = parse(decode(body))
    if not isinstance(value, dict):
        raise InvalidJson('the body must be a JSON object such as {"model": "…", "prompt": "…"}')
    if b"\\u" in body:
        check_text(value)
    return value


def decode(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"the body is not valid UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise InvalidJson("the body begins with a byte order mark")
    return text


def check_structure(body: bytes) -> None:
    """Refuse what is too large, too deep or too many before a parser has to bear it."""
    skeleton = _PICTURE.sub(_without_picture, body)
    if len(skeleton) > MAX_BYTES_WITHOUT_PICTURES:
        raise InvalidJson(f"the body apart from picture data is larger than {MAX_BYTES_WITHOUT_PICTURES} bytes")
    marks = _STRING.sub(b"", skeleton)
    if any(depth > MAX_DEPTH for depth in depths(marks)):
        raise InvalidJson(f"the body is nested more than {MAX_DEPTH} levels deep")
    if marks.count(b",") + marks.count(b":") > MAX_VALUES:
        raise InvalidJson(f"the body has more than {MAX_VALUES} values")


def _without_picture(match: re.Match[bytes]) -> bytes:
    text = match[0]
    return text if len(text) < _PICTURE_MIN_BYTES else b'""'


def depths(marks: bytes) -> Iterator[int]:
    """The nesting depth after each bracket of `marks`, which holds no strings."""
    depth = 0
    for mark in re.findall(rb"[\[\]{}]", marks):
        depth += 1 if mark in _OPENING else -1
        yield depth


def parse(text: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=unique_object,
            parse_constant=refuse_constant,
            parse_float=finite_float,
            parse_int=short_integer,
        )
    except json.JSONDecodeError as error:
        raise InvalidJson(
            f"the body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None


def unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJson("the body has the same key twice in one object")
    return members


def refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not a JSON number")


def finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise InvalidJson(f"the number {text[:MAX_DIGITS]} is too large")
    return number


def short_integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise InvalidJson(f"a number has {len(text)} digits, more than {MAX_DIGITS}")
    return int(text)


def check_text(value: Any) -> None:
    """Refuse unpaired surrogates, which JSON can spell and UTF-8 cannot store."""
    for text in texts(value):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidJson("the body has an unpaired surrogate (\\ud800 to \\udfff)")


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield key
            yield from texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from texts(member)
