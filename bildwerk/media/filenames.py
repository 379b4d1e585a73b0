"""Names of uploaded files: text to show, never a path."""

import unicodedata
from urllib.parse import quote

MAX_CHARACTERS = 200
NAMELESS = "upload"


def shown_name(sent: str) -> str:
    """The last part of the name that was sent, without control, direction and other invisible characters."""
    last = sent.replace("\\", "/").rpartition("/")[2]
    visible = "".join(
        character for character in last if unicodedata.category(character)[0] not in "CZ" or character == " "
    )
    return visible.strip(" .")[:MAX_CHARACTERS] or NAMELESS


def content_disposition(kind: str, name: str) -> str:
    """The header's value for `kind` (`attachment` or `inline`), safe for any `name` (RFC 6266, RFC 8187)."""
    plain = "".join(
        character for character in name if character.isascii() and (character.isalnum() or character in "._-")
    )
    return f"{kind}; filename=\"{plain or NAMELESS}\"; filename*=UTF-8''{quote(name, safe='')}"
