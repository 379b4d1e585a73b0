"""A picture that a customer sent to start from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Upload:
    """One stored upload. `file_name` is text to show; `byte_count` and `sha256` are those of the file as stored.

    Times are milliseconds since 1970.
    """

    id: str
    account_id: str
    object_key: str
    file_name: str
    media_type: str
    byte_count: int
    sha256: str
    width: int
    height: int
    created_at: int
    expires_at: int
