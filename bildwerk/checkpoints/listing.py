"""What a repository of the hub holds, at one commit: every name and number of it checked before it is used.

Source of the format: huggingface/huggingface_hub, `HfApi.model_info(files_metadata=True)`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bildwerk.checkpoints.errors import CheckpointError

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
PATH = re.compile(r"[\w.+ ()@-]+(/[\w.+ ()@-]+)*", re.ASCII)
MAX_PATH = 250
MAX_FILES = 10_000
MAX_BYTES = 2**43


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file. Large ones are known by their `sha256`, small ones by `git_id`, the SHA-1 that git gives to them."""

    path: str
    size: int
    sha256: str | None
    git_id: str | None

    @property
    def content_id(self) -> str:
        return self.sha256 or self.git_id or ""

    def hashing(self) -> Hash:
        """What makes `content_id` of the file's bytes."""
        if self.sha256 is not None:
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)


@dataclass(frozen=True, slots=True)
class Listing:
    """`commit` is the revision that all files are fetched from, even when the branch moves on meanwhile."""

    repository: str
    commit: str
    files: Mapping[str, RemoteFile]


def read_listing(repository: str, answer: Any) -> Listing:
    """Raises `CheckpointError` for whatever is not as the hub writes it."""
    match answer:
        case {"sha": str(commit), "siblings": list(entries)} if COMMIT.fullmatch(commit) and len(entries) <= MAX_FILES:
            files = [_file(repository, entry) for entry in entries]
        case _:
            raise CheckpointError(f"the hub's answer about {repository} is not the description of a repository")
    return Listing(repository, commit, {file.path: file for file in files if file is not None})


def _file(repository: str, entry: Any) -> RemoteFile | None:
    """None for a name that no model of ours has, which so can do no harm."""
    match entry:
        case {"rfilename": str(path)} if not is_plain(path):
            return None
        case {"rfilename": str(path), "size": int(size), "lfs": {"sha256": str(sha256)}} if SHA256.fullmatch(sha256):
            file = RemoteFile(path, size, sha256, None)
        case {"rfilename": str(path), "size": int(size), "blobId": str(git_id)} if COMMIT.fullmatch(git_id):
            file = RemoteFile(path, size, None, git_id)
        case _:
            raise CheckpointError(f"the hub's answer about {repository} describes a file without its size and its hash")
    if not 0 <= file.size <= MAX_BYTES:
        raise CheckpointError(f"the hub says that {file.path} of {repository} has {file.size:,} bytes, which cannot be")
    return file


def is_plain(path: str) -> bool:
    """A relative path that leads nowhere but down."""
    if len(path) > MAX_PATH or PATH.fullmatch(path) is None:
        return False
    return not any(set(part) <= {"."} for part in path.split("/"))
