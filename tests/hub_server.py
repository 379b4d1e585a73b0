"""A hub of one's own on two ports: the endpoint, and the host that the bytes of large files are redirected to.

It speaks as much of the hub's protocol as a client may rely on, remembers every request, and fails on demand.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE_SUFFIXES = (".safetensors", ".gguf", ".sft", ".bin")
PIECE = 16 * 1024


@dataclass(frozen=True)
class Seen:
    """One request."""

    host: str
    path: str
    token: str | None
    range: str | None


@dataclass
class Faults:
    """What goes wrong. `after` bytes of a file the connection ends or stands still until `release`."""

    cut_after: int | None = None
    cuts_left: int = 0
    stall_after: int | None = None
    release: threading.Event = field(default_factory=threading.Event)
    damaged: set[str] = field(default_factory=set)
    statuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    ignores_range: bool = False


@dataclass
class HubServer:
    """`gate` is None, or the token that lets in; `published` can be changed while it serves."""

    published: dict[str, dict[str, bytes]]
    gate: str | None = None
    commit: str = COMMIT
    faults: Faults = field(default_factory=Faults)
    seen: list[Seen] = field(default_factory=list)
    endpoint: str = ""
    storage: str = ""

    @property
    def fetched(self) -> list[str]:
        """The paths of the files that were asked for at the endpoint, in order."""
        return [one.path.partition(f"/resolve/{self.commit}/")[2] for one in self.seen if "/resolve/" in one.path]

    def environment(self, **others: str) -> dict[str, str]:
        return {"HF_ENDPOINT": self.endpoint, **others}


def folder_content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sibling(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_id(content)}
    if path.endswith(LARGE_SUFFIXES):
        entry["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def hub_server(published: Mapping[str, Mapping[str, bytes]], **options: Any) -> Iterator[HubServer]:
    """published: repository -> path -> content."""
    hub = HubServer({name: dict(files) for name, files in published.items()}, **options)
    with _listening(_endpoint_handler(hub), "127.0.0.1") as endpoint, _listening(_handler(hub), "127.0.0.2") as storage:
        hub.endpoint, hub.storage = endpoint, storage
        try:
            yield hub
        finally:
            hub.faults.release.set()


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that are killed break their connections off."""


@contextmanager
def _listening(handler: type[BaseHTTPRequestHandler], host: str) -> Iterator[str]:
    server = QuietServer((host, 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    """The host of large files: /<repository>/<path>."""

    class Storage(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.remember()
            repository, path = self.named()
            self.send_file(path, hub.published[repository][path])

        def named(self) -> tuple[str, str]:
            owner, name, path = unquote(urlsplit(self.path).path).lstrip("/").split("/", 2)
            return f"{owner}/{name}", path

        def remember(self) -> None:
            hub.seen.append(Seen(self.headers["Host"], self.path, self.headers["Authorization"], self.headers["Range"]))

        def send_file(self, path: str, content: bytes) -> None:
            if path in hub.faults.damaged:
                content = bytes(byte ^ 1 for byte in content[:1]) + content[1:]
            start = self.asked_start(len(content))
            if start is None:
                self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            part = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
            part |= {"ETag": f'"{git_id(content)}"', "X-Repo-Commit": hub.commit}
            self.send_response(206 if start else 200)
            for name, value in {"Content-Length": str(len(content) - start), **part}.items():
                self.send_header(name, value)
            self.end_headers()
            self.send_pieces(content, start)

        def asked_start(self, size: int) -> int | None:
            asked = self.headers["Range"]
            if asked is None or hub.faults.ignores_range:
                return 0
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            return start if start < size else None

        def send_pieces(self, content: bytes, start: int) -> None:
            if self.command == "HEAD":
                return
            faults = hub.faults
            try:
                for begin in range(start, len(content), PIECE):
                    if faults.cut_after is not None and begin - start >= faults.cut_after and faults.cuts_left > 0:
                        faults.cuts_left -= 1
                        self.close_connection = True
                        return
                    if faults.stall_after is not None and begin >= faults.stall_after:
                        faults.release.wait(60)
                    self.wfile.write(content[begin : begin + PIECE])
            except OSError:
                self.close_connection = True

        def answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    return Storage


def _endpoint_handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Endpoint(_handler(hub)):  # type: ignore[misc]
        def do_GET(self) -> None:  # noqa: N802
            self.remember()
            if fault := next((fault for part, fault in hub.faults.statuses.items() if part in self.path), None):
                self.refuse(*fault)
            elif self.path.startswith("/api/models/"):
                self.describe()
            else:
                self.resolve()

        def do_HEAD(self) -> None:  # noqa: N802
            self.do_GET()

        def describe(self) -> None:
            owner, name, *rest = unquote(urlsplit(self.path).path).removeprefix("/api/models/").split("/")
            files = hub.published.get(f"{owner}/{name}")
            if files is None:
                self.refuse(401 if self.headers["Authorization"] is None else 404, "RepoNotFound")
            elif rest[:1] != ["revision"] or rest[1] not in ("main", hub.commit):
                self.refuse(404, "RevisionNotFound")
            else:
                siblings = [sibling(path, content) for path, content in files.items()]
                body = {"id": f"{owner}/{name}", "sha": hub.commit, "gated": bool(hub.gate), "siblings": siblings}
                self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

        def resolve(self) -> None:
            owner, name, verb, commit, path = unquote(self.path).lstrip("/").split("/", 4)
            token = self.headers["Authorization"]
            if hub.gate is not None and token != f"Bearer {hub.gate}":
                self.refuse(401 if token is None else 403, "GatedRepo")
            elif (
                verb != "resolve" or commit not in ("main", hub.commit) or path not in hub.published[f"{owner}/{name}"]
            ):
                self.refuse(404, "EntryNotFound")
            elif path.endswith(LARGE_SUFFIXES):
                self.redirect(f"{owner}/{name}", path)
            else:
                self.send_file(path, hub.published[f"{owner}/{name}"][path])

        def redirect(self, repository: str, path: str) -> None:
            content = hub.published[repository][path]
            headers = {
                "Location": f"{hub.storage}/{repository}/{path}?signature=secret",
                "X-Repo-Commit": hub.commit,
                "X-Linked-Size": str(len(content)),
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            }
            self.answer(302, b"", headers)

        def refuse(self, status: int, code: str) -> None:
            self.answer(status, b"refused", {"X-Error-Code": code, "X-Error-Message": code})

    return Endpoint
