"""A database of predictions and money for tests: one connection, a clock that is set by hand, and short verbs.

Its ids are counted and not random, so that what happens depends on nothing but the verbs.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import text

from bildwerk.domain.prediction import Output, Prediction, Status
from bildwerk.jobs import lifecycle, queue
from bildwerk.jobs.fairness import FairShare
from bildwerk.jobs.queue import Accepted, Job, Room
from bildwerk.jobs.submission import IdempotencyKey, QueueLimits, Submission
from bildwerk.store import accounts, ledger, predictions
from bildwerk.store.database import DURABLE, sqlite_engine
from bildwerk.store.files import MemoryFiles, output_key
from bildwerk.store.invariants import Breach, When, broken
from bildwerk.store.schema import metadata

T = TypeVar("T")
MODEL = "test/model"
LEASE_MS = 30_000
PRICE = 3_000


class Books:
    def __init__(self, folder: Path, *, grant: int = 10_000_000, durable: bool = False) -> None:
        pragmas = DURABLE if durable else (*DURABLE, "synchronous=OFF")
        self.engine = sqlite_engine(folder / "books.db", "BEGIN IMMEDIATE", pragmas)
        self.now = 1_000_000
        self.files = MemoryFiles()
        self.share = FairShare()
        self.limits = QueueLimits()
        with self.engine.begin() as connection:
            metadata.create_all(connection)
            ledger.open_house_accounts(connection)
        self._names = count(1)
        self.account = self.open_account(grant)

    def do(self, run: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """`run(connection, *arguments)` in a transaction of its own."""
        with self.engine.begin() as connection:
            return run(connection, *arguments, **named)

    def open_account(self, grant: int = 10_000_000) -> str:
        account = f"acc_{next(self._names):04}"
        self.do(accounts.create, self.now, account, "a customer")
        self.do(ledger.top_up, self.now, account, grant, transfer_id=f"grant_{account}", reason="grant")
        return account

    def submission(
        self, account: str | None = None, *, images: int = 1, key: str | None = None, **more: Any
    ) -> Submission:
        base = Submission(
            prediction_id=f"pred_{next(self._names):04}",
            account_id=account or self.account,
            api_key_id=None,
            model=MODEL,
            input={"prompt": "a lake", "seed": 1},
            request_body="{}",
            batch_key="one",
            images=images,
            price=PRICE * images,
            idempotency=None if key is None else IdempotencyKey(key, "hash"),
        )
        return replace(base, **more)

    def submit(self, account: str | None = None, **more: Any) -> str:
        return self.do(lifecycle.submit, self.now, self.submission(account, **more), self.limits).prediction_id

    def accept(self, account: str | None = None, *, worker: str = "w", max_images: int = 1, **more: Any) -> Accepted:
        """A submission that a worker with nothing to do may claim at once."""
        submission, room = self.submission(account, **more), Room(worker, frozenset({MODEL}), max_images, LEASE_MS)
        return self.do(queue.accept, self.now, submission, self.limits, room=room, share=self.share)

    def claim(self, worker: str = "w", max_images: int = 1) -> list[Job]:
        room = Room(worker, frozenset({MODEL}), max_images, LEASE_MS)
        return self.do(queue.claim_batch, self.now, room, self.share).jobs

    def claim_one(self, worker: str = "w") -> Job:
        (job,) = self.claim(worker)
        return job

    def succeed(self, job: Job) -> Prediction | bool:
        return self.do(lifecycle.succeed, self.now, job.claim, lifecycle.Made(self.pictures(job), {"denoise": 0.5}))

    def pictures(self, job: Job) -> tuple[Output, ...]:
        return tuple(self.picture(job, index) for index in range(job.images))

    def picture(self, job: Job, index: int) -> Output:
        claim = job.claim
        key = output_key(job.account_id, claim.prediction_id, claim.claim_no, index, "png")
        stored = self.files.put(key, f"{claim}{index}".encode())
        return Output(index, claim.claim_no, key, stored.sha256, stored.byte_count, "image/png", 64, 64, index)

    def prediction(self, prediction_id: str) -> Prediction:
        found = self.do(predictions.find, prediction_id)
        assert found is not None
        return found

    def status(self, prediction_id: str) -> Status:
        return self.prediction(prediction_id).status

    def prepaid(self, account: str | None = None) -> int:
        return self.do(ledger.balance, account or self.account).prepaid

    def held(self, account: str | None = None) -> int:
        return self.do(ledger.balance, account or self.account).held

    def steps(self, prediction_id: str) -> list[str]:
        query = text("SELECT to_status FROM history WHERE prediction_id = :id ORDER BY seq")
        return self.do(lambda connection: list(connection.execute(query, {"id": prediction_id}).scalars()))

    def breaches(self, *conditions: When) -> list[Breach]:
        return self.do(broken, frozenset(conditions))

    def close(self) -> None:
        self.engine.dispose()
