"""`bildwerk check`: silent about sound data, exact about damage, and without a hand in it."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bildwerk.cli.main import main
from tests.inline_service import GOOD, inline_service


@pytest.fixture(scope="module")
def sound_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a service that has made one picture."""
    data_dir = tmp_path_factory.mktemp("sound") / "data"
    with inline_service(data_dir) as service:
        path = "/api/v1/model/generateImage"
        answer = service.client.post(path, json={**GOOD, "enable_sync_mode": True}, headers=service.headers)
        assert answer.json()["status"] == "completed"
    return data_dir


@pytest.fixture
def data_dir(sound_data: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(sound_data, tmp_path / "data"))


def check(data_dir: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, set[str]]:
    """The exit status, and which invariants are said to be broken."""
    capsys.readouterr()
    status = main(["check", "--data-dir", str(data_dir), "--json", *options])
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] == (status == 0)
    return status, {breach["id"] for breach in answer["breaches"]}


def damage(data_dir: Path, *statements: str) -> None:
    with closing(sqlite3.connect(data_dir / "bildwerk.db")) as database:
        for statement in ("PRAGMA ignore_check_constraints = ON", *statements):
            database.execute(statement)
        database.commit()


def test_sound_data_has_no_breach(data_dir: Path, capsys: pytest.CaptureFixture[str]):
    assert check(data_dir, capsys, "--quiescent") == (0, set())


ONE = "(SELECT id FROM predictions LIMIT 1)"
DAMAGES = {
    "I01": ("UPDATE entries SET amount = amount + 1 WHERE ledger_account_id = 'house:revenue'",),
    "I02": ("UPDATE ledger_accounts SET balance = balance + 1 WHERE kind = 'prepaid'",),
    "I03": ("UPDATE ledger_accounts SET balance = -1 WHERE kind = 'held'",),
    "I04": ("UPDATE transfers SET kind = 'topup' WHERE kind = 'hold'",),
    "I05": (
        "DROP INDEX one_settlement",
        f"INSERT INTO transfers(id, kind, prediction_id, created_at) VALUES ('t', 'release', {ONE}, 1)",
    ),
    "I06": ("UPDATE transfers SET kind = 'adjust' WHERE kind = 'capture'",),
    "I07": ("UPDATE transfers SET kind = 'release' WHERE kind = 'capture'",),
    "I08": ("UPDATE entries SET amount = -1 WHERE amount < 0 AND ledger_account_id LIKE '%:held'",),
    "I09": ("UPDATE predictions SET status = 'queued'",),
    "I10": ("UPDATE predictions SET price = price + 1",),
    "I11": ("UPDATE predictions SET images = 2",),
    "I12": ("UPDATE predictions SET status = 'failed'",),
    "I13": ("UPDATE outputs SET claim_no = 9",),
    "I14": ("UPDATE outputs SET object_key = 'outputs/another/' || object_key",),
    "I15": ("DELETE FROM events",),
    "I16": ("UPDATE history SET from_status = 'queued' WHERE to_status = 'succeeded'",),
    "I17": ("UPDATE history SET to_status = 'failed' WHERE to_status = 'running'",),
    "I18": ("DELETE FROM history WHERE to_status = 'succeeded'",),
    "I19": (
        "INSERT INTO accounts VALUES ('other', 'x', 1)",
        f"INSERT INTO idempotency_keys VALUES ('other', 'k', 'h', {ONE}, 1)",
    ),
    "I20": ("UPDATE predictions SET status = 'queued'",),
    "I21": ("UPDATE predictions SET attempts = 4",),
}


@pytest.mark.parametrize(("invariant", "statements"), DAMAGES.items(), ids=DAMAGES.keys())
def test_damage_to_the_books_is_found(
    data_dir: Path, capsys: pytest.CaptureFixture[str], invariant: str, statements: tuple[str, ...]
):
    damage(data_dir, *statements)
    status, broken = check(data_dir, capsys, "--quiescent")
    assert status == 1
    assert invariant in broken


def test_a_request_without_a_key_is_found_where_all_must_have_one(data_dir: Path, capsys: pytest.CaptureFixture[str]):
    assert check(data_dir, capsys, "--all-keyed") == (1, {"I19"})


def test_a_missing_and_a_changed_picture_are_found(data_dir: Path, capsys: pytest.CaptureFixture[str]):
    (picture,) = (data_dir / "files").rglob("*.png")
    picture.write_bytes(picture.read_bytes()[:-1] + b"x")
    assert check(data_dir, capsys) == (1, {"S2"})
    picture.unlink()
    assert check(data_dir, capsys) == (1, {"S1"})


def test_checking_changes_nothing(data_dir: Path, capsys: pytest.CaptureFixture[str]):
    before = (data_dir / "bildwerk.db").read_bytes()
    check(data_dir, capsys)
    assert (data_dir / "bildwerk.db").read_bytes() == before


def test_a_folder_without_data_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--data-dir", str(tmp_path)]) == 1
    assert "there is no data in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
