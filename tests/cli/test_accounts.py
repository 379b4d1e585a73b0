"""`bildwerk accounts`: beside a running service, to the micro-dollar, and once for each reference."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bildwerk.cli.main import main
from bildwerk.jobs import lifecycle
from bildwerk.jobs.submission import QueueLimits, Submission
from bildwerk.store.invariants import broken
from tests.inline_service import GOOD, InlineService, bearer, inline_service

SUBMIT = "/api/v1/model/generateImage"
BALANCE = "/public/v1/balance"
RANGE = "an amount must be from 0.000001 to 1000000000 US dollars"
Accounts = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[InlineService]:
    with inline_service(tmp_path / "data") as running:
        yield running
        assert running.database.read_blocking(broken) == []


@pytest.fixture
def accounts(service: InlineService, capsys: pytest.CaptureFixture[str]) -> Accounts:
    """What a command prints, a JSON object a line."""

    def run(*words: str, command: str = "accounts") -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main([command, *words, "--data-dir", str(service.folder.path), "--json"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]

    return run


@pytest.fixture
def refusal(service: InlineService, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str, exit_code: int = 1) -> str:
        capsys.readouterr()
        assert main(["accounts", *words, "--data-dir", str(service.folder.path)]) == exit_code
        return capsys.readouterr().err

    return run


def first(accounts: Accounts) -> str:
    return str(accounts("list")[0]["id"])


def test_an_account_made_and_paid_into_beside_a_running_service_can_be_spent_from(
    service: InlineService, accounts: Accounts
):
    (made,) = accounts("create", "Ada & Söhne")
    (key,) = accounts("create", "--account", str(made["id"]), command="keys")
    refused = service.client.post(SUBMIT, json=GOOD, headers=bearer(key["key"]))
    assert refused.status_code == 402
    assert "bildwerk" not in refused.text
    (paid,) = accounts("top-up", str(made["id"]), "0.5")
    assert (paid["amount"], paid["balance"], paid["is_new"]) == ("0.5", "0.5", True)
    answer = service.client.post(SUBMIT, json=GOOD | {"enable_sync_mode": True}, headers=bearer(key["key"]))
    assert answer.json()["data"]["status"] == "completed"
    listed = {account["id"]: account for account in accounts("list")}[made["id"]]
    assert (listed["held"], listed["spent"]) == ("0", answer.json()["data"]["price"])
    assert Decimal(listed["balance"]) + Decimal(listed["spent"]) == Decimal("0.5")
    seen = service.client.get(BALANCE, headers=bearer(key["key"])).json()
    assert seen["available"]["value"].rstrip("0") == listed["balance"]
    assert seen["account"]["name"] == "Ada & Söhne"


def test_what_open_predictions_hold_is_shown(service: InlineService, accounts: Accounts):
    service.service.dispatcher.stop_claiming()
    held = Submission("p", first(accounts), None, "model of nobody", {"seed": 1}, "{}", "one", images=1, price=30_000)
    now = service.service.context.now()  # else it expires at the next look at the clock
    service.database.write_blocking(lambda connection: lifecycle.submit(connection, now, held, QueueLimits()))
    (listed,) = accounts("list")
    assert (listed["balance"], listed["held"], listed["spent"]) == ("9.97", "0.03", "0")


def test_a_reference_pays_once(accounts: Accounts):
    account = first(accounts)
    answers = [accounts("top-up", account, "2.5", "--reference", "invoice 7")[0] for _ in range(3)]
    assert [answer["is_new"] for answer in answers] == [True, False, False]
    assert [answer["balance"] for answer in answers] == ["12.5"] * 3
    without = [accounts("top-up", account, "1")[0]["balance"] for _ in range(2)]
    assert without == ["13.5", "14.5"]
    (shown,) = accounts("show", account)
    assert sorted((payment["amount"], payment["reason"]) for payment in shown["payments"]) == [
        ("1", ""),
        ("1", ""),
        ("10", "grant"),
        ("2.5", "invoice 7"),
    ]
    assert [key["name"] for key in shown["keys"]] == ["first key"]


def test_a_reference_names_one_payment(accounts: Accounts, refusal: Callable[..., str]):
    (other,) = accounts("create", "another")
    accounts("top-up", first(accounts), "1", "--reference", "a")
    for words in ((first(accounts), "2"), (other["id"], "1")):
        assert "the reference a already names another payment" in refusal("top-up", *words, "--reference", "a")
    assert "a reference must be 1 to 200" in refusal("top-up", first(accounts), "1", "--reference", "")


@pytest.mark.parametrize("amount", ["0.1", "0.000001", "0.3", "1234567.654321", "007", "999999990"])
def test_amounts_are_exact(accounts: Accounts, amount: str):
    (paid,) = accounts("top-up", first(accounts), amount)
    from_ten = int(amount.partition(".")[0]) + 10
    assert paid["balance"].partition(".")[0] == str(from_ten)
    assert paid["balance"].partition(".")[2] == amount.partition(".")[2]


@pytest.mark.parametrize(
    "amount",
    [
        *("-5", "-0.01", "0", "0.0", "0.0000001", "1e3", "nan", "inf", "1,000", "$5", "+5", "", " 5", "٥", "5.", ".5"),
        *(str(2**63), str(2**63 // 10**6), "1000000000.000001", "9" * 400),
    ],
)
def test_what_is_no_amount_is_refused_with_the_range(accounts: Accounts, refusal: Callable[..., str], amount: str):
    account = first(accounts)
    assert RANGE in refusal("top-up", account, amount, exit_code=2)
    assert accounts("list")[0]["balance"] == "10"


def test_an_account_cannot_have_more_than_the_ledger_counts_exactly(accounts: Accounts, refusal: Callable[..., str]):
    account = first(accounts)
    error = refusal("top-up", account, "1000000000")
    assert "must be from 0.000001 to 999999990, not 1000000000" in error
    accounts("top-up", account, "999999990")
    assert "must be from 0.000001 to 0, not 1" in refusal("top-up", account, "1")


def test_unknown_accounts_and_bad_names_are_explained(refusal: Callable[..., str]):
    for words in (("show", "acc_none"), ("top-up", "acc_none", "5")):
        assert "there is no account 'acc_none'; `bildwerk accounts list` shows them" in refusal(*words)
    for name in ("", "  ", "x" * 101, "a\nb"):
        assert "a name must be 1 to 100 printable characters" in refusal("create", name, exit_code=2)


def test_the_operator_is_told_in_the_log_how_to_mend_an_empty_account(service: InlineService, accounts: Accounts):
    (made,) = accounts("create", "empty")
    (key,) = accounts("create", "--account", str(made["id"]), command="keys")
    with capture_logs() as lines:
        service.client.post(SUBMIT, json=GOOD, headers=bearer(key["key"]))
    assert f"bildwerk accounts top-up {made['id']} AMOUNT" in [line.get("mended_by") for line in lines]


def test_as_text_there_is_a_line_an_account(service: InlineService, capsys: pytest.CaptureFixture[str]):
    def printed(*words: str) -> list[str]:
        capsys.readouterr()
        assert main(["accounts", *words, "--no-json", "--data-dir", str(service.folder.path)]) == 0
        return capsys.readouterr().out.splitlines()

    (made,) = printed("create", "Ada")
    (line,) = printed("top-up", made, "5", "--reference", "r")
    assert line == f"{made} was topped up by $5; its balance is $5"
    (line,) = printed("top-up", made, "5", "--reference", "r")
    assert line == f"{made} already has, under the reference r, its $5; its balance is $5"
    assert ["5", "0", "0", "Ada"] in [line.split()[1:] for line in printed("list")]
    assert "balance $5" in printed("show", made)


def test_as_text_the_columns_have_headings_and_money_is_aligned(
    service: InlineService, accounts: Accounts, capsys: pytest.CaptureFixture[str]
):
    accounts("create", "Ada")
    assert main(["accounts", "list", "--no-json", "--data-dir", str(service.folder.path)]) == 0
    headings, *rows = capsys.readouterr().out.splitlines()
    assert headings.split() == ["ID", "BALANCE", "HELD", "SPENT", "NAME"]
    assert [row[headings.index("NAME") :] for row in rows] == [account["name"] for account in accounts("list")]
    end = headings.index("BALANCE") + len("BALANCE")
    for row, account in zip(rows, accounts("list"), strict=True):
        assert row[:end].endswith(f" {account['balance']}")
