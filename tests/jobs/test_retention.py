"""What is forgotten, and when."""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bildwerk.domain.upload import Upload
from bildwerk.jobs import retention
from bildwerk.jobs.uploads import keep
from bildwerk.store.database import Database
from bildwerk.store.file_check import broken_files
from bildwerk.store.files import LocalFiles
from tests.books import Books

HOUR_MS = 3_600_000


@dataclass
class Shelf:
    """Predictions whose pictures lie in a real folder."""

    books: Books
    files: LocalFiles
    database: Database

    def now(self) -> int:
        return self.books.now

    def made(self, **more: object) -> str:
        prediction = self.books.submit(**more)
        self.books.succeed(self.books.claim_one())
        return prediction


@pytest.fixture
def shelf(books: Books, tmp_path: Path) -> Iterator[Shelf]:
    files = LocalFiles(tmp_path / "files")
    books.files = files  # type: ignore[assignment]
    database = Database(tmp_path / "books.db", is_guest=True)
    yield Shelf(books, files, database)
    assert books.do(broken_files, files) == []
    database.close()


def sent_upload(shelf: Shelf) -> str:
    """The key of an upload that an account has sent."""
    key, now = f"uploads/{shelf.books.account}/u.png", shelf.books.now
    sent = Upload("u", shelf.books.account, key, "u.png", "image/png", 7, "0" * 64, 8, 8, now, now + HOUR_MS)
    asyncio.run(keep(shelf.database, shelf.files, sent, b"picture", max_bytes=100))
    return key


def test_pictures_are_deleted_at_their_end_and_not_before(shelf: Shelf):
    short, long = shelf.made(object_hours=1), shelf.made(object_hours=2)
    shelf.books.now += HOUR_MS - 1
    assert asyncio.run(retention.delete_expired_outputs(shelf.database, shelf.files, shelf.now)) == 0
    shelf.books.now += 1
    assert asyncio.run(retention.delete_expired_outputs(shelf.database, shelf.files, shelf.now)) == 1
    (left,) = shelf.files.keys()
    assert long in left
    assert short not in left


def test_a_request_is_erased_at_its_end(shelf: Shelf):
    kept = shelf.made(request_body='{"prompt": "mine"}')
    erased = shelf.made(request_body='{"prompt": "mine"}', request_hours=1)
    shelf.books.now += HOUR_MS - 1
    assert asyncio.run(retention.erase_requests(shelf.database, shelf.now)) == 0
    shelf.books.now += 1
    assert asyncio.run(retention.erase_requests(shelf.database, shelf.now)) == 1
    found = shelf.books.prediction(erased)
    assert (found.input["prompt"], found.request_body) == ("", "{}")
    assert shelf.books.prediction(kept).request_body == '{"prompt": "mine"}'


def test_more_than_one_batch_is_forgotten_in_one_round(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(retention.BATCH + 1):
        shelf.made(object_hours=1, request_hours=1)
    shelf.books.now += HOUR_MS
    assert asyncio.run(retention.erase_requests(shelf.database, shelf.now)) == 3
    assert asyncio.run(retention.delete_expired_outputs(shelf.database, shelf.files, shelf.now)) == 3
    assert shelf.files.keys() == []


def test_an_open_request_is_not_erased(shelf: Shelf):
    shelf.books.submit(request_hours=0)
    shelf.books.now += HOUR_MS
    assert asyncio.run(retention.erase_requests(shelf.database, shelf.now)) == 0


def test_old_files_of_nobody_are_swept_and_all_others_stay(shelf: Shelf, tmp_path: Path):
    shelf.made()
    for name in ("outputs/a/lost/1/0.png", "outputs/a/young/1/0.png", "uploads/a/lost.png"):
        shelf.files.put(name, b"picture")
    upload = sent_upload(shelf)
    yesterday = time.time() - 2 * retention.ORPHAN_AGE_SECONDS
    for path in (tmp_path / "files").rglob("*.png"):
        if "young" not in str(path):
            os.utime(path, (yesterday, yesterday))
    assert asyncio.run(retention.sweep_orphans(shelf.database, shelf.files)) == 2
    left = shelf.files.keys()
    assert not any("lost" in key for key in left)
    assert upload in left
    assert len(left) == 3
