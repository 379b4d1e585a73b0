"""URLs of stored files that need no key: signed, with an end, and the same for as long as they are valid."""

import base64
import hmac
from urllib.parse import parse_qs, quote

from bildwerk.domain.errors import BadSignature, UrlExpired

MAX_QUERY_FIELDS = 20


class FileUrls:
    """`base_url` is the server's own, or that of a host for files alone."""

    def __init__(self, secret: bytes, base_url: str) -> None:
        self._secret = secret
        self._base_url = base_url

    def url(self, key: str, expires_at: int) -> str:
        """`expires_at` in milliseconds since 1970; whole seconds are signed."""
        end = expires_at // 1000
        return f"{self._base_url}/files/{quote(key)}?exp={end}&sig={self._signature(key, end)}"

    def check(self, key: str, query: str, now: int) -> int:
        """The seconds for which the URL with this query is still valid. Raises `BadSignature` or `UrlExpired`."""
        values = query_values(query)
        end_text, given = values.get("exp", [""])[0], values.get("sig", [""])[0]
        if not (end_text.isascii() and end_text.isdigit() and len(end_text) < 16):
            raise BadSignature()
        end = int(end_text)
        if not hmac.compare_digest(self._signature(key, end).encode(), given.encode()):
            raise BadSignature()
        if now >= end * 1000:
            raise UrlExpired()
        return end - now // 1000

    def _signature(self, key: str, end: int) -> str:
        digest = hmac.digest(self._secret, f"{key}\n{end}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def query_values(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise BadSignature() from None
