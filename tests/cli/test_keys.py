"""`bildwerk keys`: beside a running service, and at once."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bildwerk.cli.main import main
from bildwerk.domain.api_key import PATTERN
from tests.inline_service import InlineService, bearer, inline_service

HISTORY = "/api/v1/model/history"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[InlineService]:
    with inline_service(tmp_path / "data") as running:
        yield running


def keys(service: InlineService, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    """What a command prints, a JSON object a line."""
    capsys.readouterr()
    assert main(["keys", *words, "--data-dir", str(service.folder.path), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


def may_read(service: InlineService, secret: object) -> bool:
    return service.client.get(HISTORY, headers=bearer(str(secret))).status_code == 200


def test_a_key_made_beside_a_running_service_is_taken_and_refused_after_its_revocation(
    service: InlineService, capsys: pytest.CaptureFixture[str]
):
    (made,) = keys(service, capsys, "create", "--name", "laptop")
    assert re.fullmatch(PATTERN, str(made["key"]))
    assert may_read(service, made["key"])
    keys(service, capsys, "revoke", str(made["id"]))
    assert not may_read(service, made["key"])
    listed = {str(key["id"]): key for key in keys(service, capsys, "list")}
    assert listed[str(made["id"])]["revoked_at"] is not None
    assert str(made["key"]) not in json.dumps(listed)


def test_a_key_can_be_made_to_do_less(service: InlineService, capsys: pytest.CaptureFixture[str]):
    (made,) = keys(service, capsys, "create", "--scope", "read", "--days", "1")
    assert made["scopes"] == ["read"]
    assert made["expires_at"] is not None
    answer = service.client.post("/api/v1/model/generateImage", json={}, headers=bearer(str(made["key"])))
    assert answer.status_code == 403


def test_an_unknown_key_is_explained(service: InlineService, capsys: pytest.CaptureFixture[str]):
    assert main(["keys", "revoke", "ak_unknown", "--data-dir", str(service.folder.path)]) == 1
    assert "there is no key 'ak_unknown'" in capsys.readouterr().err


@pytest.mark.parametrize("days", ["0", "-1", "99999999"])
def test_a_life_outside_the_range_is_explained(service: InlineService, capsys: pytest.CaptureFixture[str], days: str):
    assert main(["keys", "create", "--days", days, "--data-dir", str(service.folder.path)]) == 2
    assert "--days must be from 1 to" in capsys.readouterr().err


def test_as_text_only_the_secret_is_printed(service: InlineService, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    assert main(["keys", "create", "--no-json", "--data-dir", str(service.folder.path)]) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("bw_")]
    assert len(printed) == 1


def test_as_text_the_columns_have_headings(service: InlineService, capsys: pytest.CaptureFixture[str]):
    (made,) = keys(service, capsys, "create", "--name", "a laptop", "--scope", "read")
    assert main(["keys", "list", "--no-json", "--data-dir", str(service.folder.path)]) == 0
    headings, *rows = capsys.readouterr().out.splitlines()
    assert headings.split() == ["ID", "KEY", "STATE", "SCOPES", "ACCOUNT", "NAME"]
    (row,) = [row for row in rows if row.startswith(str(made["id"]))]
    for heading, shown in (("KEY", made["display"]), ("STATE", "live"), ("SCOPES", "read"), ("NAME", "a laptop")):
        assert row[headings.index(heading) :].startswith(str(shown))
    assert len(rows) == len(keys(service, capsys, "list"))
