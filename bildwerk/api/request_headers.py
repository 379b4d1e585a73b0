"""The headers of a submit that say how it is to be treated; each has a legal range, and `InvalidHeader` names it."""

import re

from starlette.datastructures import Headers

from bildwerk.domain.errors import InvalidHeader

MAX_WAIT_SECONDS = 60
MAX_RETENTION_HOURS = 336
MAX_CANCEL_AFTER_SECONDS = 86_400
MAX_KEY_CHARACTERS = 255

_DURATION = re.compile(r"(?:(\d{1,2})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s?)?", re.ASCII)
_PREFER_WAIT = re.compile(r"(?:^|[,;])\s*wait(?:\s*=\s*\"?([^\",;\s]*)\"?)?\s*(?=$|[,;])", re.IGNORECASE)


def idempotency_key(headers: Headers) -> str | None:
    key = headers.get("idempotency-key")
    if key is None:
        return None
    if not (0 < len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        raise InvalidHeader(f"Idempotency-Key must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters")
    return key


def cancel_after_seconds(headers: Headers) -> int | None:
    """The seconds of `Cancel-After: 90`, `90s`, `1m30s` or `1h`."""
    text = headers.get("cancel-after")
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
    match = _PREFER_WAIT.search(headers.get("prefer", ""))
    if match is None:
        return None
    return integer("Prefer: wait", match[1], 0, MAX_WAIT_SECONDS) if match[1] else MAX_WAIT_SECONDS


def object_hours(headers: Headers) -> int:
    """For how many hours the outputs are kept after the end."""
    text = headers.get("x-atlascloud-object-expiration-hours")
    return MAX_RETENTION_HOURS if text is None else integer("X-AtlasCloud-Object-Expiration-Hours", text, 1, 336)


def request_hours(headers: Headers) -> int | None:
    """For how many hours prompt and parameters are kept after the end; None: for good."""
    text = headers.get("x-atlascloud-request-retention-hours")
    return None if text is None else integer("X-AtlasCloud-Request-Retention-Hours", text, 0, 336)


def integer(name: str, text: str, low: int, high: int) -> int:
    stripped = text.strip()
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) < 10 and low <= int(stripped) <= high):
        raise InvalidHeader(f"{name} must be an integer from {low} to {high}")
    return int(stripped)
