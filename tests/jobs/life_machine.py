"""Random interleavings of everything that can happen to predictions and money, with every invariant after each step.

Zombies are part of it: a job that was once claimed may be finished at any later time, as by a worker that was frozen.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from bildwerk.domain.errors import InsufficientBalance, QueueFull
from bildwerk.domain.prediction import FailureCode
from bildwerk.jobs import lifecycle, queue
from bildwerk.jobs.queue import Job
from bildwerk.jobs.retry import BACKOFF_MS
from bildwerk.jobs.submission import QueueLimits
from bildwerk.store import ledger
from bildwerk.store.file_check import broken_files
from tests.books import LEASE_MS, PRICE, Books

WORKERS = st.sampled_from(["w1", "w2"])
SWEEPS = [lifecycle.reap, lifecycle.expire, lifecycle.take_back_all]
Report = Callable[[Books, Job], object]


def fail(code: FailureCode) -> Report:
    return lambda books, job: books.do(lifecycle.retry_or_fail, books.now, job.claim, code, "it failed")


REPORTS = st.sampled_from(
    [
        *[Books.succeed] * 4,  # more often than the rest, so that zombies and winners meet
        fail(FailureCode.WORKER_LOST),
        fail(FailureCode.INVALID_INPUT),
        lambda books, job: books.do(lifecycle.give_back, books.now, job.claim),
        lambda books, job: books.do(lifecycle.finish_cancel, books.now, job.claim),
        lambda books, job: books.do(queue.heartbeat, books.now, [job.claim], LEASE_MS),
    ]
)


class LifeMachine(RuleBasedStateMachine):
    accounts = Bundle("accounts")
    predictions = Bundle("predictions")
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.books = Books(Path(self.folder.name), grant=4 * PRICE)
        self.books.limits = QueueLimits(per_account=5, in_all=8)

    def teardown(self) -> None:
        self.books.close()
        self.folder.cleanup()

    @initialize(target=accounts)
    def first_account(self) -> str:
        return self.books.account

    @initialize(target=jobs)
    def first_job(self) -> Job:
        self.books.submit()
        return self.books.claim_one()

    @rule(target=accounts, grant=st.sampled_from([0, 2 * PRICE, 50 * PRICE]))
    def open_account(self, grant: int) -> str:
        account = self.books.open_account(grant)
        self.books.do(ledger.top_up, self.books.now, account, PRICE, transfer_id=f"topup_{account}", reason="paid")
        return account

    @rule(target=predictions, account=accounts, images=st.integers(1, 3), key=st.sampled_from([None, "k1", "k2"]))
    def submit(self, account: str, images: int, key: str | None) -> object:
        try:
            return self.books.submit(account, images=images, key=key)
        except (InsufficientBalance, QueueFull):
            return multiple()

    @rule(target=jobs, worker=WORKERS, max_images=st.integers(1, 4), account=st.none() | accounts)
    def claim(self, worker: str, max_images: int, account: str | None) -> object:
        """By a worker with nothing to do; for an account, together with a submission of its."""
        if account is None:
            return multiple(*self.books.claim(worker, max_images))
        try:
            job = self.books.accept(account, worker=worker).job
        except (InsufficientBalance, QueueFull):
            return multiple()
        return multiple() if job is None else job

    @rule(job=jobs, report=REPORTS)
    def report(self, job: Job, report: Report) -> None:
        """By whoever claimed it at any time, and so perhaps by a zombie."""
        report(self.books, job)

    @rule(prediction=predictions)
    def cancel(self, prediction: str) -> None:
        owner = self.books.prediction(prediction).account_id
        self.books.do(lifecycle.cancel, self.books.now, owner, prediction)

    @rule(target=jobs)
    def all_leases_end_and_others_claim(self) -> object:
        self.books.now += LEASE_MS
        self.books.do(lifecycle.reap, self.books.now)
        self.books.now += max(BACKOFF_MS)
        return multiple(*self.books.claim("w3", 4))

    @rule(milliseconds=st.sampled_from([1_000, 3_600_000]), sweep=st.sampled_from(SWEEPS))
    def time_passes(self, milliseconds: int, sweep: Callable[..., list[str]]) -> None:
        self.books.now += milliseconds
        self.books.do(sweep, self.books.now)

    @invariant()
    def nothing_is_broken(self) -> None:
        assert self.books.breaches() == []
        assert self.books.do(broken_files, self.books.files) == []
