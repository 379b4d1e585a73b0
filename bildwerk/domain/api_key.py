"""API keys: how one is made, recognized, hashed and shown.

A key is `bw_live_`, 32 random base62 characters (190 bits) and a CRC32 of all that in 6 more, so that a secret scanner
finds it by its pattern and a mistyped or invented one is refused without a look-up. Only the keyed hash is ever stored.
"""

import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field

PREFIX = "bw_live_"
PATTERN = r"bw_live_[0-9A-Za-z]{38}"
"""What a secret scanner looks for; about one random match in 4 billion also has a right checksum."""
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARACTERS = 32
CHECKSUM_CHARACTERS = 6

_KEY = re.compile(PATTERN, re.ASCII)


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key at the moment of its making, the only one at which its secret is known."""

    public_id: str
    secret: str = field(repr=False)

    @property
    def last4(self) -> str:
        return self.secret[-4:]

    @property
    def display(self) -> str:
        return display(self.last4)


def new_api_key() -> NewApiKey:
    body = PREFIX + random_base62(RANDOM_CHARACTERS)
    return NewApiKey(public_id="ak_" + random_base62(22), secret=body + checksum(body))


def random_base62(count: int) -> str:
    """`count` characters of 5.95 bits each from the operating system's random source."""
    return "".join(secrets.choice(BASE62) for _ in range(count))


def checksum(body: str) -> str:
    """CRC32 of the ASCII text `body` as 6 base62 characters."""
    number = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_CHARACTERS):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def is_well_formed(key: str) -> bool:
    """Whether `key` has our form and a right checksum. Says nothing about whether it was ever given out."""
    if _KEY.fullmatch(key) is None:
        return False
    body, given = key[:-CHECKSUM_CHARACTERS], key[-CHECKSUM_CHARACTERS:]
    return hmac.compare_digest(checksum(body), given)


def keyed_hash(pepper: bytes, key: str) -> str:
    """HMAC-SHA256 of `key` under the installation's `pepper`, in hexadecimal: what is stored and looked up."""
    return hmac.digest(pepper, key.encode("utf-8"), "sha256").hex()


def display(last4: str) -> str:
    """How a key is shown after its making: its prefix and its last four characters."""
    return f"{PREFIX}…{last4}"
