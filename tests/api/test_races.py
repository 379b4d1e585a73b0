"""Many requests at once: one key makes one prediction, and no more is spent than there is."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bildwerk.domain.account import MICRO_DOLLARS
from bildwerk.domain.api_key import new_api_key
from bildwerk.jobs.customers import give_key, open_account
from bildwerk.store import ledger
from bildwerk.store.invariants import broken
from tests.inline_service import GOOD, InlineService, bearer, inline_service

PATH = "/api/v1/model/generateImage"
PRICE = 100


def submit_at_once(service: InlineService, count: int, headers: dict[str, str]) -> list[Any]:
    with ThreadPoolExecutor(25) as threads:
        sends = [threads.submit(service.client.post, PATH, json=GOOD, headers=headers) for _ in range(count)]
        return [send.result() for send in sends]


def test_a_hundred_requests_under_one_key_make_one_prediction(tmp_path: Path):
    with inline_service(tmp_path / "data") as service:
        answers = submit_at_once(service, 100, {**service.headers, "Idempotency-Key": "once"})
        assert Counter(answer.status_code for answer in answers) == {200: 100}
        assert len({answer.content for answer in answers}) == 1
        assert service.database.read_blocking(ledger.revenue) <= PRICE
        assert service.database.read_blocking(broken) == []


def test_money_for_ten_buys_ten(tmp_path: Path):
    with inline_service(tmp_path / "data") as service:
        poor, key = account_with(service, 10 * PRICE)
        answers = submit_at_once(service, 60, bearer(key))
        assert Counter(answer.status_code for answer in answers) == {200: 10, 402: 50}
        refused = next(answer for answer in answers if answer.status_code == 402)
        assert refused.json()["error"]["code"] == "insufficient_balance"
        assert service.database.read_blocking(lambda c: ledger.balance(c, poor)).prepaid == 0
        assert service.database.read_blocking(broken) == []


def account_with(service: InlineService, micro_dollars: int) -> tuple[str, str]:
    new, pepper = new_api_key(), service.folder.secrets.key_pepper

    def open_with_key(connection: Any) -> str:
        account = open_account(connection, 1, "poor", micro_dollars)
        give_key(connection, 1, account.id, pepper, new)
        return account.id

    assert micro_dollars < MICRO_DOLLARS
    return service.database.write_blocking(open_with_key), new.secret
