"""The headers of a request that say how it is to be treated: a row each, and those of a submit with their readers.

A value outside its legal range is an `InvalidHeader` that names the range.
"""

import re

from starlette.datastructures import Headers

from bildwerk.domain.errors import InvalidHeader
from bildwerk.schemas.parameter import Parameter

MAX_WAIT_SECONDS = 60
MAX_RETENTION_HOURS = 336
MAX_CANCEL_AFTER_SECONDS = 86_400
MAX_KEY_CHARACTERS = 255

IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    kind="string",
    title="Idempotency key",
    description="The same key with the same body is answered with the same prediction, for 24 hours.",
    min_length=1,
    max_length=MAX_KEY_CHARACTERS,
)
PREFER = Parameter(
    name="Prefer",
    kind="string",
    title="Preference",
    description=f"wait=n: answer when the prediction has ended, after n seconds at most, 0 to {MAX_WAIT_SECONDS}.",
    examples=("wait=30",),
)
CANCEL_AFTER = Parameter(
    name="Cancel-After",
    kind="string",
    title="Deadline",
    description=f"Cancel it, free of charge, after 1s to {MAX_CANCEL_AFTER_SECONDS // 3600}h.",
    examples=("90s", "1m30s", "1h"),
)
OBJECT_HOURS = Parameter(
    name="X-AtlasCloud-Object-Expiration-Hours",
    kind="integer",
    title="Retention of pictures",
    description="For how many hours the pictures are kept after the end.",
    default=MAX_RETENTION_HOURS,
    minimum=1,
    maximum=MAX_RETENTION_HOURS,
)
REQUEST_HOURS = Parameter(
    name="X-AtlasCloud-Request-Retention-Hours",
    kind="integer",
    title="Retention of the request",
    description="For how many hours prompt and parameters are kept after the end. Default: for good.",
    minimum=0,
    maximum=MAX_RETENTION_HOURS,
)
OF_A_SUBMIT = (IDEMPOTENCY_KEY, PREFER, CANCEL_AFTER, OBJECT_HOURS, REQUEST_HOURS)
IF_NONE_MATCH = Parameter(
    name="If-None-Match",
    kind="string",
    title="Known version",
    description="The ETag of an earlier answer: 304 if it is the same.",
)
RANGE = Parameter(
    name="Range", kind="string", title="Byte range", description="One range of bytes.", examples=("bytes=0-1023",)
)
IF_RANGE = Parameter(
    name="If-Range", kind="string", title="Version of the range", description="The range counts only for this ETag."
)
LAST_EVENT_ID = Parameter(
    name="Last-Event-ID", kind="string", title="Last event", description="The id of the last event that was seen."
)
_DURATION = re.compile(r"(?:(\d{1,2})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s?)?", re.ASCII)
_PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait(?:\s*=\s*\"?([^\",;\s]*)\"?)?\s*(?=$|[,;])", re.IGNORECASE)


def idempotency_key(headers: Headers) -> str | None:
    key = headers.get(IDEMPOTENCY_KEY.name)
    if key is None:
        return None
    if not (0 < len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        raise InvalidHeader(f"{IDEMPOTENCY_KEY.name} must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters")
    return key


def cancel_after_seconds(headers: Headers) -> int | None:
    """The seconds of `Cancel-After: 90`, `90s`, `1m30s` or `1h`."""
    text = headers.get(CANCEL_AFTER.name)
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip())
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = hours * 3600 + minutes * 60 + seconds
    if not 1 <= total <= MAX_CANCEL_AFTER_SECONDS:
        raise InvalidHeader(f"Cancel-After must be 1s to {MAX_CANCEL_AFTER_SECONDS // 3600}h, such as 90s or 1m30s")
    return total


def prefer_wait_seconds(headers: Headers) -> int | None:
    """The seconds of `Prefer: wait=n`; plain `wait` asks for the most there is."""
    match = _PREFER_WAIT.search(headers.get(PREFER.name, ""))
    if match is None:
        return None
    return integer("Prefer: wait", match[1], 0, MAX_WAIT_SECONDS) if match[1] else MAX_WAIT_SECONDS


def object_hours(headers: Headers) -> int:
    """For how many hours the outputs are kept after the end."""
    hours = in_range(headers, OBJECT_HOURS)
    return MAX_RETENTION_HOURS if hours is None else hours


def request_hours(headers: Headers) -> int | None:
    """For how many hours prompt and parameters are kept after the end; None: for good."""
    return in_range(headers, REQUEST_HOURS)


def in_range(headers: Headers, row: Parameter) -> int | None:
    """The integer of a header, within its row's range; None where it is absent."""
    text = headers.get(row.name)
    return None if text is None else integer(row.name, text, int(row.minimum or 0), int(row.maximum or 0))


def integer(name: str, text: str, low: int, high: int) -> int:
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) < 10 and low <= int(stripped) <= high):
        raise InvalidHeader(f"{name} must be an integer from {low} to {high}")
    return int(stripped)
