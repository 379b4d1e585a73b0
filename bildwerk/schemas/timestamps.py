"""Moments on the wire: RFC 3339 in UTC."""

from datetime import UTC, datetime


def rfc3339(milliseconds: int) -> str:
    """Milliseconds since 1970 as `2026-01-01T00:00:00Z`."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).isoformat().replace("+00:00", "Z")
