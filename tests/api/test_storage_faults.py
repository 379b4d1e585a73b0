"""A disk or a database that takes nothing: refused at once, nothing held, and everything well again afterwards."""

from dataclasses import replace
from pathlib import Path

import pytest

from bildwerk.domain.errors import StorageUnavailable
from bildwerk.settings import Limits
from bildwerk.store import ledger
from bildwerk.store.invariants import broken
from tests.inline_service import GOOD, InlineService, inline_service

PATH = "/api/v1/model/generateImage"
FULL = replace(Limits(), free_disk_bytes=2**62)


def held(service: InlineService) -> int:
    account = service.database.read_blocking(
        lambda connection: connection.exec_driver_sql("SELECT id FROM accounts").scalar()
    )
    return service.database.read_blocking(lambda connection: ledger.balance(connection, account)).held


def test_a_nearly_full_disk_refuses_what_it_could_not_store(tmp_path: Path):
    with inline_service(tmp_path / "data", limits=FULL) as service:
        answer = service.client.post(PATH, json=GOOD, headers=service.headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert held(service) == 0


def test_a_nearly_full_disk_takes_no_uploads(tmp_path: Path):
    with inline_service(tmp_path / "data", limits=FULL) as service:
        files = {"file": ("a.png", b"never looked at", "image/png")}
        answer = service.client.post("/api/v1/model/uploadMedia", files=files, headers=service.headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")


def test_a_picture_that_cannot_be_stored_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with inline_service(tmp_path / "data") as service:
        files, failures = service.service.context.files, [1]
        put = files.put

        def put_at_second_try(key: str, data: bytes) -> object:
            if failures:
                failures.pop()
                raise StorageUnavailable
            return put(key, data)

        monkeypatch.setattr(files, "put", put_at_second_try)
        answer = service.client.post(PATH, json={**GOOD, "enable_sync_mode": True}, headers=service.headers)
        assert answer.json()["status"] == "completed"
        assert service.database.read_blocking(broken) == []
