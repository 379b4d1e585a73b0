import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from bildwerk.domain.errors import QuotaExceeded
from bildwerk.domain.upload import Upload
from bildwerk.jobs.uploads import BATCH, KEPT_MS, keep, sweep
from bildwerk.store import accounts, uploads
from bildwerk.store.database import Database
from bildwerk.store.files import MemoryFiles
from bildwerk.store.migrate import migrate

NOW = 1_000_000
DATA = bytes(100)
CAT = Upload(
    id="upl_0",
    account_id="acc_1",
    object_key="uploads/acc_1/upl_0.png",
    file_name="cat.png",
    media_type="image/png",
    byte_count=len(DATA),
    sha256="0" * 64,
    width=8,
    height=8,
    created_at=NOW,
    expires_at=NOW + KEPT_MS,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    path = tmp_path / "bildwerk.db"
    migrate(path)
    opened = Database(path)
    for account in ("acc_1", "acc_2"):
        opened.write_blocking(lambda connection, name=account: accounts.create(connection, NOW, name, "a customer"))
    yield opened
    opened.close()


def cat(number: int, account: str = "acc_1") -> Upload:
    return replace(CAT, id=f"upl_{number}", account_id=account, object_key=f"uploads/{account}/upl_{number}.png")


def test_an_upload_is_stored_and_entered(database: Database) -> None:
    files = MemoryFiles()
    asyncio.run(keep(database, files, CAT, DATA, max_bytes=1_000))
    assert files.get(CAT.object_key) == DATA
    assert database.read_blocking(lambda connection: uploads.find_by_key(connection, CAT.object_key)) == CAT


def test_many_at_once_cannot_pass_the_quota(database: Database) -> None:
    files = MemoryFiles()

    async def send_twenty() -> list[object]:
        sent = (keep(database, files, cat(i), DATA, max_bytes=1_000) for i in range(20))
        return list(await asyncio.gather(*sent, return_exceptions=True))

    answers = asyncio.run(send_twenty())
    assert answers.count(None) == 10
    assert sum(isinstance(answer, QuotaExceeded) for answer in answers) == 10
    assert len(files.keys()) == 10


def test_one_accounts_uploads_do_not_count_for_another(database: Database) -> None:
    files = MemoryFiles()
    asyncio.run(keep(database, files, cat(1), DATA, max_bytes=100))
    asyncio.run(keep(database, files, cat(2, "acc_2"), DATA, max_bytes=100))
    with pytest.raises(QuotaExceeded, match="100 of 100 bytes"):
        asyncio.run(keep(database, files, cat(3), DATA, max_bytes=100))


def test_uploads_past_their_end_are_swept_and_give_their_room_back(database: Database) -> None:
    files = MemoryFiles()
    for upload in (cat(1), replace(cat(2), expires_at=NOW + KEPT_MS + 1)):
        asyncio.run(keep(database, files, upload, DATA, max_bytes=200))
    assert asyncio.run(sweep(database, files, lambda: NOW + KEPT_MS)) == 1
    assert files.keys() == [cat(2).object_key]
    asyncio.run(keep(database, files, cat(3), DATA, max_bytes=200))
    assert asyncio.run(sweep(database, files, lambda: NOW)) == 0


def test_many_past_their_end_are_swept_in_batches(database: Database) -> None:
    def enter(connection: Connection) -> None:
        for number in range(2 * BATCH + 1):
            uploads.add(connection, cat(number))

    end = NOW + KEPT_MS
    database.write_blocking(enter)
    assert len(database.write_blocking(lambda connection: uploads.remove_expired(connection, end, 7))) == 7
    assert asyncio.run(sweep(database, MemoryFiles(), lambda: end)) == 2 * BATCH + 1 - 7
    assert database.read_blocking(lambda connection: uploads.byte_count(connection, "acc_1")) == 0
