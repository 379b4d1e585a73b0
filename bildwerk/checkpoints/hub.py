"""The hub over HTTP: what a repository holds, and the bytes of its files.

The token goes to the endpoint alone: redirects are followed here, one by one, and lead to another host without it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

import httpx2

from bildwerk.checkpoints.errors import CheckpointError
from bildwerk.checkpoints.hub_access import HubAccess
from bildwerk.checkpoints.listing import REPOSITORY, Listing, RemoteFile, read_listing
from bildwerk.checkpoints.refusal import Asked, refusal
from bildwerk.checkpoints.unreachable import reason

MAX_REDIRECTS = 5
MAX_LISTING_BYTES = 16 * 2**20
CONNECT_SECONDS, READ_SECONDS = 10, 30
TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
USER_AGENT = "bildwerk"


class TransientError(Exception):
    """The connection or the server failed in a way that may pass; the text says how."""


@dataclass(frozen=True, slots=True)
class Body:
    """An answer with a file's bytes, of which the first is byte `start` of the file."""

    start: int
    chunks: Iterator[bytes]


class Hub:
    """One connection pool. Every method raises `CheckpointError`, and `TransientError` for what may pass."""

    def __init__(self, access: HubAccess, transport: httpx2.BaseTransport | None = None) -> None:
        self.access = access
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx2.Client(
            timeout=timeout, transport=transport, follow_redirects=False, headers={"User-Agent": USER_AGENT}
        )
        self._origin = _origin(self._url(access.endpoint))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def listing(self, repository: str, revision: str = "main") -> Listing:
        """Every file of a repository at a branch, tag or commit."""
        if not REPOSITORY.fullmatch(repository):
            raise CheckpointError(f"{repository[:200]!r} is not the name of a repository, which is owner/name")
        url = f"{self.access.endpoint}/api/models/{repository}/revision/{quote(revision, safe='')}?blobs=true"
        with self._get(url, {}) as response:
            self._require(response, Asked(repository, revision))
            text = b"".join(_limited(response, MAX_LISTING_BYTES))
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            raise CheckpointError(
                f"{self.access.endpoint} does not answer as the hub does; check HF_ENDPOINT"
            ) from None
        return read_listing(repository, answer)

    @contextmanager
    def body(self, listing: Listing, file: RemoteFile, offset: int) -> Iterator[Body]:
        """The bytes of a file from `offset` on, or from its start where the server cannot begin elsewhere."""
        url = f"{self.access.endpoint}/{listing.repository}/resolve/{listing.commit}/{quote(file.path)}"
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        with self._get(url, headers) as response:
            if response.status_code == 416:
                yield Body(0, iter(()))
                return
            self._require(response, Asked(listing.repository, listing.commit, file.path))
            yield Body(_start(response, offset, file), _chunks(response))

    @contextmanager
    def _get(self, url: str, headers: dict[str, str]) -> Iterator[httpx2.Response]:
        """Follow redirects to the answer that is none."""
        target = self._url(url)
        for _ in range(MAX_REDIRECTS + 1):
            request = self._client.build_request("GET", target, headers=headers | self._authorization(target))
            try:
                response = self._client.send(request, stream=True)
            except httpx2.RequestError as error:
                raise TransientError(f"{target.host} cannot be reached: {reason(error)}") from error
            try:
                if not response.has_redirect_location:
                    yield response
                    return
                target = self._redirected(target, response.headers["Location"])
            finally:
                response.close()
        raise CheckpointError(f"{self.access.endpoint} redirects more than {MAX_REDIRECTS} times")

    def _authorization(self, target: httpx2.URL) -> dict[str, str]:
        is_ours = self.access.token is not None and _origin(target) == self._origin
        return {"Authorization": f"Bearer {self.access.token}"} if is_ours else {}

    def _redirected(self, source: httpx2.URL, location: str) -> httpx2.URL:
        try:
            target = self._url(str(source.join(location)))
        except httpx2.InvalidURL as error:
            raise CheckpointError(f"{source.host} redirects to {location[:200]!r}, which is no web address") from error
        if target.scheme not in ("http", "https") or (source.scheme == "https" and target.scheme != "https"):
            raise CheckpointError(f"{source.host} redirects to {target.scheme}://, which is not followed")
        return target

    def _url(self, text: str) -> httpx2.URL:
        try:
            url = httpx2.URL(text)
        except httpx2.InvalidURL as error:
            raise CheckpointError(f"{text[:200]!r} is not a web address: {error}") from error
        if not url.host:
            raise CheckpointError(f"{text[:200]!r} is not a web address: it names no host")
        return url

    def _require(self, response: httpx2.Response, asked: Asked) -> None:
        """Raises what the status stands for, unless it is success."""
        status = response.status_code
        if status in (200, 206):
            return
        if status in TRANSIENT_STATUS:
            raise TransientError(f"{response.url.host} answers with status {status}")
        code = response.headers.get("X-Error-Code", "")
        raise refusal(self.access, asked, status, code)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _start(response: httpx2.Response, offset: int, file: RemoteFile) -> int:
    """Which byte the answer begins with. A part of a file of another size is a part of another file."""
    if response.status_code != 206:
        return 0
    if response.headers.get("Content-Range", "") != f"bytes {offset}-{file.size - 1}/{file.size}":
        raise TransientError(f"{response.url.host} answers with another part of {file.path} than was asked for")
    return offset


def _chunks(response: httpx2.Response) -> Iterator[bytes]:
    try:
        yield from response.iter_bytes()
    except httpx2.RequestError as error:
        raise TransientError(f"the connection to {response.url.host} broke: {reason(error)}") from error


def _limited(response: httpx2.Response, limit: int) -> Iterator[bytes]:
    taken = 0
    for chunk in _chunks(response):
        taken += len(chunk)
        if taken > limit:
            raise CheckpointError(f"{response.url.host} answers with more than {limit:,} bytes")
        yield chunk
