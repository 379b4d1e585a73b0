"""The installation's secrets: one random master in the data folder, and a key for each purpose derived from it."""

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bildwerk.domain.errors import SetupError
from bildwerk.store.files import fsync_folder

FILE_NAME = "master-secret"
MASTER_BYTES = 32


@dataclass(frozen=True, slots=True)
class Secrets:
    """32 bytes each. `key_pepper` hashes API keys, `url_signing` signs the URLs of stored files."""

    key_pepper: bytes
    url_signing: bytes


def load_secrets(data_dir: Path) -> Secrets:
    """Read the master secret, or make it, readable by its owner only. Raises `SetupError` where it is damaged."""
    master = read_or_create(data_dir / FILE_NAME)
    return Secrets(key_pepper=derive(master, b"key pepper"), url_signing=derive(master, b"url signing"))


def read_or_create(path: Path) -> bytes:
    if not path.exists():
        create_whole(path, secrets.token_bytes(MASTER_BYTES))
    master = path.read_bytes()
    if len(master) != MASTER_BYTES:
        raise SetupError(
            f"{path} must have {MASTER_BYTES} bytes, not {len(master)}: put back a copy of it, for without it no key "
            "and no file URL that was given out is valid"
        )
    return master


def create_whole(path: Path, data: bytes) -> None:
    """A durable file that is there with all of its bytes or not at all; one that another process made first stays."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        write_private(temporary, data)
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)


def write_private(path: Path, data: bytes) -> None:
    """A new file of mode 0600. Raises `FileExistsError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def derive(master: bytes, purpose: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) of one block, without salt, labelled with the purpose."""
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), master, "sha256")
    return hmac.digest(extracted, b"bildwerk " + purpose + b"\x01", "sha256")
