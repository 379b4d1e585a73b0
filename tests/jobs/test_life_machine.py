"""The invariants hold under random interleavings, and each planted bug breaks one of them."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import select, text

from bildwerk.domain.errors import InsufficientBalance
from bildwerk.jobs import idempotency, lifecycle
from bildwerk.store import ledger
from bildwerk.store.files import StoredFile, describe
from bildwerk.store.schema import predictions
from tests.books import Books
from tests.jobs.life_machine import LifeMachine

Patch = Callable[[pytest.MonkeyPatch], None]

SOAK_EXAMPLES, SOAK_STEPS = "BILDWERK_SOAK_EXAMPLES", "BILDWERK_SOAK_STEPS"
"""Environment variables that turn the quick search into a long one; `--hypothesis-seed` chooses another."""

TestLife = LifeMachine.TestCase
TestLife.settings = settings(
    max_examples=int(os.environ.get(SOAK_EXAMPLES, "10")),
    stateful_step_count=int(os.environ.get(SOAK_STEPS, "25")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

HUNT = settings(
    max_examples=400,
    stateful_step_count=15,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Whoever once claimed a running prediction may finish it."""

    def anybody(connection: Any, claimed: Any) -> Any:
        query = select(predictions).where(predictions.c.id == claimed.prediction_id, predictions.c.status == "running")
        return connection.execute(query).one_or_none()

    patch.setattr(lifecycle, "fetch_claimed", anybody)


def hold_in_a_second_transaction(patch: pytest.MonkeyPatch) -> None:
    """The process dies between the two."""
    patch.setattr(ledger, "hold", lambda *arguments, **named: None)


def no_release(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ledger, "release", lambda *arguments, **named: None)


def row_before_files(patch: pytest.MonkeyPatch) -> None:
    """The process dies between the COMMIT and the writing of the files."""

    def promised(self: Books, key: str, data: bytes) -> StoredFile:
        return describe(key, data)

    patch.setattr("bildwerk.store.files.MemoryFiles.put", promised)


def double_settlement(patch: pytest.MonkeyPatch) -> None:
    """A finish neither asks whether the end was reached before, nor is it stopped by the index."""
    made = Books.__init__

    def without_index(self: Books, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self.do(lambda connection: connection.execute(text("DROP INDEX one_settlement")))

    def settled_twice(connection: Any, now: int, account_id: str, **named: Any) -> None:
        release(connection, now, account_id, **named)
        legs = ((ledger.prepaid_id(account_id), named["price"]), (ledger.held_id(account_id), -named["price"]))
        twice = ledger.Transfer(
            f"again_{named['prediction_id']}", ledger.TransferKind.RELEASE, legs, named["prediction_id"]
        )
        if ledger.balance(connection, account_id).held >= named["price"]:
            ledger.post(connection, now, twice)

    release = ledger.release
    patch.setattr(Books, "__init__", without_index)
    patch.setattr(ledger, "release", settled_twice)


def one_key_for_all_claims(patch: pytest.MonkeyPatch) -> None:
    """A picture's key does not say which claim made it, so that a zombie writes over the winner's."""

    def same_key(account_id: str, prediction_id: str, _claim_no: int, index: int, extension: str) -> str:
        return f"outputs/{account_id}/{prediction_id}/{index}.{extension}"

    patch.setattr("tests.books.output_key", same_key)


def keys_ignored(patch: pytest.MonkeyPatch) -> None:
    """A second request under the same key makes a second prediction."""
    patch.setattr(idempotency, "find", lambda *arguments: None)
    patch.setattr(lifecycle.idempotency, "remember", lambda *arguments: None)
    patch.setattr(Books, "submit", submit_twice_alike)


def submit_twice_alike(self: Books, account: str | None = None, **more: Any) -> str:
    submission = self.submission(account, **more)
    made = self.do(lifecycle.submit, self.now, submission, self.limits).prediction_id
    if submission.idempotency is not None:
        seen = self.__dict__.setdefault("answers", {})
        named = (submission.account_id, submission.idempotency.key)
        assert seen.setdefault(named, made) == made, "one key, two predictions"
    return made


MUTANTS: list[Patch] = [
    no_fence,
    hold_in_a_second_transaction,
    no_release,
    row_before_files,
    double_settlement,
    one_key_for_all_claims,
    keys_ignored,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_planted_bug_is_caught(mutant: Patch, monkeypatch: pytest.MonkeyPatch):
    """By an invariant, or by the ledger itself, which refuses to move what is not there."""
    mutant(monkeypatch)
    with pytest.raises((AssertionError, InsufficientBalance)):
        run_state_machine_as_test(LifeMachine, settings=HUNT)
