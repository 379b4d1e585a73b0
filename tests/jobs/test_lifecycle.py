"""Each transition: what it writes, what it refuses, and where the money is afterwards."""

import pytest

from bildwerk.domain.errors import IdempotencyMismatch, InsufficientBalance, PredictionNotFound, QueueFull
from bildwerk.domain.prediction import FailureCode, Status
from bildwerk.jobs import lifecycle
from bildwerk.jobs.submission import IdempotencyKey, QueueLimits
from tests.books import LEASE_MS, PRICE, Books

GRANT = 10_000_000


def test_a_submission_waits_and_its_price_is_held(books: Books):
    prediction = books.submit(images=2)
    assert books.status(prediction) is Status.QUEUED
    assert (books.prepaid(), books.held()) == (GRANT - 2 * PRICE, 2 * PRICE)


def test_a_submission_above_the_balance_writes_nothing(books: Books):
    poor = books.open_account(grant=PRICE - 1)
    with pytest.raises(InsufficientBalance):
        books.submit(poor)
    assert (books.prepaid(poor), books.held(poor)) == (PRICE - 1, 0)
    assert books.claim() == []


def test_one_key_makes_one_prediction(books: Books):
    first = books.submit(key="k")
    assert books.submit(key="k") == first
    assert books.held() == PRICE


def test_one_key_with_another_body_is_refused(books: Books):
    books.submit(key="k")
    with pytest.raises(IdempotencyMismatch):
        books.submit(idempotency=IdempotencyKey("k", "another hash"))


def test_accounts_have_their_own_keys(books: Books):
    other = books.open_account()
    assert books.submit(key="k") != books.submit(other, key="k")


def test_a_full_queue_refuses_an_account_and_leaves_others_room(books: Books):
    books.limits = QueueLimits(per_account=2, in_all=3)
    books.submit()
    books.submit()
    with pytest.raises(QueueFull):
        books.submit()
    other = books.open_account()
    books.submit(other)
    with pytest.raises(QueueFull):
        books.submit(books.open_account())


def test_a_success_captures_the_hold_and_keeps_its_pictures(books: Books):
    prediction = books.submit(images=2)
    assert books.succeed(books.claim_one())
    found = books.prediction(prediction)
    assert found.status is Status.SUCCEEDED
    assert [output.index for output in found.outputs] == [0, 1]
    assert (books.prepaid(), books.held()) == (GRANT - 2 * PRICE, 0)


def test_a_success_is_told_as_it_would_be_read(books: Books):
    prediction = books.submit(images=2, object_hours=3, warnings=("from the submission",))
    books.do(lifecycle.give_back, books.now, books.claim_one().claim)
    books.now += 1_000
    job = books.claim_one()
    books.now += 2_500
    made = lifecycle.Made(books.pictures(job), {"denoise": 0.5}, ("from the engine",))
    assert books.do(lifecycle.succeed, books.now, job.claim, made) == books.prediction(prediction)


def test_a_success_that_was_canceled_tells_nothing_of_pictures(books: Books):
    prediction = books.submit()
    job = books.claim_one()
    books.do(lifecycle.cancel, books.now, books.account, prediction)
    assert books.succeed(job) is True
    assert books.status(prediction) is Status.CANCELED


def test_a_second_success_of_the_same_claim_changes_nothing(books: Books):
    books.submit()
    job = books.claim_one()
    assert books.succeed(job)
    assert not books.succeed(job)


def test_a_claim_that_was_lost_can_finish_nothing(books: Books):
    prediction = books.submit()
    lost = books.claim_one()
    books.now += LEASE_MS
    books.do(lifecycle.reap, books.now)
    books.now += 10_000
    winner = books.claim_one()
    assert not books.succeed(lost)
    assert not books.do(lifecycle.retry_or_fail, books.now, lost.claim, FailureCode.INVALID_INPUT, "late")
    assert not books.do(lifecycle.give_back, books.now, lost.claim)
    assert not books.do(lifecycle.finish_cancel, books.now, lost.claim)
    assert books.succeed(winner)
    assert {output.claim_no for output in books.prediction(prediction).outputs} == {winner.claim.claim_no}


def test_another_worker_with_the_same_number_can_finish_nothing(books: Books):
    books.submit()
    job = books.claim_one("w1")
    imitated = type(job.claim)(job.claim.prediction_id, job.claim.claim_no, "w2")
    assert not books.do(lifecycle.finish_cancel, books.now, imitated)


def test_the_callers_fault_fails_at_once_and_is_free(books: Books):
    prediction = books.submit()
    books.do(lifecycle.retry_or_fail, books.now, books.claim_one().claim, FailureCode.INVALID_INPUT, "bad picture")
    found = books.prediction(prediction)
    assert (found.status, found.error_code, found.error) == (Status.FAILED, FailureCode.INVALID_INPUT, "bad picture")
    assert books.prepaid() == GRANT


@pytest.mark.parametrize(
    "code", [FailureCode.WORKER_LOST, FailureCode.RUN_TIMEOUT, FailureCode.ENGINE_ERROR, FailureCode.STORAGE_ERROR]
)
def test_the_machines_fault_is_tried_three_times_with_pauses(books: Books, code: FailureCode):
    prediction = books.submit()
    for pause in (2_000, 10_000):
        books.do(lifecycle.retry_or_fail, books.now, books.claim_one().claim, code, "again")
        books.now += pause - 1
        assert books.claim() == []
        books.now += 1
    books.do(lifecycle.retry_or_fail, books.now, books.claim_one().claim, code, "again")
    assert books.prediction(prediction).error_code is code
    assert books.steps(prediction) == ["queued", "running", "queued", "running", "queued", "running", "failed"]
    assert books.prepaid() == GRANT


def test_an_owner_is_not_told_of_our_insides(books: Books):
    prediction = books.submit()
    for _ in range(3):
        told = "/usr/lib/secret.so failed"
        books.do(lifecycle.retry_or_fail, books.now, books.claim_one().claim, FailureCode.ENGINE_ERROR, told)
        books.now += 10_000
    assert books.prediction(prediction).error == "the engine failed"


def test_a_lack_of_memory_is_tried_twice(books: Books):
    prediction = books.submit()
    for _ in range(2):
        books.do(lifecycle.retry_or_fail, books.now, books.claim_one().claim, FailureCode.OUT_OF_MEMORY, "no memory")
        books.now += 10_000
    assert books.status(prediction) is Status.FAILED


def test_giving_back_uses_up_no_attempt(books: Books):
    prediction = books.submit()
    for _ in range(5):
        assert books.do(lifecycle.give_back, books.now, books.claim_one().claim)
    assert books.prediction(prediction).attempts == 0
    assert books.prediction(prediction).claim_no == 5


def test_a_job_that_kills_three_workers_fails_as_lost(books: Books):
    prediction = books.submit()
    for _ in range(3):
        books.claim_one()
        books.now += LEASE_MS
        books.do(lifecycle.reap, books.now)
        books.now += 10_000
    found = books.prediction(prediction)
    assert (found.status, found.error_code, found.attempts) == (Status.FAILED, FailureCode.WORKER_LOST, 3)
    assert books.prepaid() == GRANT


def test_a_lease_that_is_not_over_is_left_alone(books: Books):
    books.submit()
    books.claim_one()
    books.now += LEASE_MS - 1
    assert books.do(lifecycle.reap, books.now) == []


def test_at_start_every_claim_is_taken_back_whatever_its_lease(books: Books):
    prediction = books.submit()
    books.claim_one()
    assert books.do(lifecycle.take_back_all, books.now) == [prediction]
    assert books.status(prediction) is Status.QUEUED


def test_canceling_what_waits_frees_its_money(books: Books):
    prediction = books.submit()
    assert books.do(lifecycle.cancel, books.now, books.account, prediction) is Status.CANCELED
    assert (books.prepaid(), books.held()) == (GRANT, 0)


def test_canceling_what_runs_is_a_wish_that_the_worker_fulfils(books: Books):
    prediction = books.submit()
    job = books.claim_one()
    assert books.do(lifecycle.cancel, books.now, books.account, prediction) is Status.RUNNING
    assert books.do(lifecycle.finish_cancel, books.now, job.claim)
    assert books.status(prediction) is Status.CANCELED
    assert books.prepaid() == GRANT


def test_a_wish_to_cancel_goes_before_a_success(books: Books):
    prediction = books.submit()
    job = books.claim_one()
    books.do(lifecycle.cancel, books.now, books.account, prediction)
    assert books.succeed(job)
    assert books.prediction(prediction).outputs == ()
    assert books.prepaid() == GRANT


def test_a_wish_to_cancel_goes_before_another_attempt(books: Books):
    prediction = books.submit()
    books.claim_one()
    books.do(lifecycle.cancel, books.now, books.account, prediction)
    books.now += LEASE_MS
    books.do(lifecycle.reap, books.now)
    assert books.status(prediction) is Status.CANCELED


def test_canceling_twice_or_after_the_end_settles_once(books: Books):
    prediction = books.submit()
    books.succeed(books.claim_one())
    for _ in range(2):
        assert books.do(lifecycle.cancel, books.now, books.account, prediction) is Status.SUCCEEDED
    assert books.prepaid() == GRANT - PRICE


def test_another_accounts_prediction_cannot_be_canceled(books: Books):
    prediction = books.submit()
    with pytest.raises(PredictionNotFound):
        books.do(lifecycle.cancel, books.now, books.open_account(), prediction)
    assert books.status(prediction) is Status.QUEUED


def test_what_waits_too_long_expires_and_is_free(books: Books):
    prediction = books.submit()
    books.now += books.limits.ttl_ms
    assert books.do(lifecycle.expire, books.now) == [prediction]
    assert books.status(prediction) is Status.EXPIRED
    assert books.prepaid() == GRANT


def test_what_runs_does_not_expire_for_its_time_in_the_queue(books: Books):
    books.submit()
    books.claim_one()
    books.now += books.limits.ttl_ms
    assert books.do(lifecycle.expire, books.now) == []


@pytest.mark.parametrize("is_running", [False, True])
def test_cancel_after_ends_what_waits_and_what_runs(books: Books, is_running: bool):
    prediction = books.submit(cancel_at=books.now + 5_000)
    if is_running:
        books.claim_one()
    books.now += 4_999
    assert books.do(lifecycle.expire, books.now) == []
    books.now += 1
    assert books.do(lifecycle.expire, books.now) == [prediction]
    assert books.status(prediction) is Status.EXPIRED
    assert books.prepaid() == GRANT
