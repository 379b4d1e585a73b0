"""Who is claimed, with whom, and for how long."""

import pytest

from bildwerk.domain.errors import InsufficientBalance
from bildwerk.domain.prediction import FailureCode
from bildwerk.jobs import lifecycle, queue
from bildwerk.jobs.fairness import FairShare
from tests.books import LEASE_MS, MODEL, Books


def ids(jobs: list[queue.Job]) -> list[str]:
    return [job.claim.prediction_id for job in jobs]


def test_the_oldest_goes_first(books: Books):
    first = books.submit()
    books.now += 1
    second = books.submit()
    assert ids(books.claim()) == [first]
    assert ids(books.claim()) == [second]
    assert books.claim() == []


def test_a_model_that_nobody_serves_is_left_waiting(books: Books):
    books.submit(model="another/model")
    assert books.claim() == []


def test_equal_batch_keys_share_a_batch_up_to_its_room(books: Books):
    sizes = [(1, "one"), (1, "two"), (1, "one"), (2, "one"), (1, "one")]
    predictions = []
    for images, key in sizes:
        predictions.append(books.submit(images=images, batch_key=key))
        books.now += 1
    assert ids(books.claim(max_images=4)) == [predictions[0], predictions[2], predictions[3]]


def test_a_claim_says_how_many_others_it_left(books: Books):
    for key in ("one", "two", "one"):
        books.submit(batch_key=key)
    books.submit(model="another/model")
    room = queue.Room("w", frozenset({MODEL}), 4, LEASE_MS)
    claims = [books.do(queue.claim_batch, books.now, room, books.share) for _ in range(3)]
    assert [(len(claimed.jobs), claimed.left) for claimed in claims] == [(2, 1), (1, 0), (0, 0)]


def test_a_request_larger_than_the_room_runs_alone(books: Books):
    large = books.submit(images=4)
    books.submit()
    assert ids(books.claim(max_images=2)) == [large]


def test_what_failed_before_runs_alone(books: Books):
    suspect = books.submit()
    books.do(lifecycle.retry_or_fail, books.now, books.claim_one().claim, FailureCode.WORKER_LOST, "lost")
    books.now += 1
    innocent = books.submit()
    books.now += 10_000
    assert ids(books.claim(max_images=4)) == [suspect]
    assert ids(books.claim(max_images=4)) == [innocent]


def test_accounts_take_turns_however_many_one_of_them_sends(books: Books):
    busy, rare = books.account, books.open_account()
    for _ in range(6):
        books.submit(busy)
    books.now += 1
    for _ in range(2):
        books.submit(rare)
    owners = [books.claim_one().account_id for _ in range(8)]
    assert owners[:4].count(rare) == 2
    assert owners[4:] == [busy] * 4


def test_an_idle_account_saves_up_no_turns():
    share = FairShare()
    for _ in range(10):
        share.charge(share.choose(["busy"]), 1)
    turns = []
    for _ in range(6):
        turns.append(share.choose(["busy", "late"]))
        share.charge(turns[-1], 1)
    assert turns.count("late") == 3


def test_a_heartbeat_prolongs_the_lease(books: Books):
    prediction = books.submit()
    claim = books.claim_one().claim
    books.now += LEASE_MS - 1
    beat = books.do(queue.heartbeat, books.now, [claim], LEASE_MS)
    assert (beat.lost, beat.cancel_requested) == (frozenset(), frozenset())
    books.now += LEASE_MS - 1
    assert books.do(lifecycle.reap, books.now) == []
    books.now += 1
    assert books.do(lifecycle.reap, books.now) == [prediction]


def test_a_heartbeat_tells_of_lost_and_of_unwanted_claims(books: Books):
    lost, unwanted = books.submit(), books.submit()
    claims = [job.claim for job in books.claim(max_images=2)]
    books.do(lifecycle.cancel, books.now, books.account, unwanted)
    (lost_claim,) = [claim for claim in claims if claim.prediction_id == lost]
    books.do(lifecycle.give_back, books.now, lost_claim)
    beat = books.do(queue.heartbeat, books.now, claims, LEASE_MS)
    assert (beat.lost, beat.cancel_requested) == (frozenset({lost}), frozenset({unwanted}))


def test_a_submission_is_claimed_at_once_where_nothing_waits(books: Books):
    accepted = books.accept(images=2)
    assert accepted.job is not None
    assert books.steps(accepted.submitted.prediction_id) == ["queued", "running"]
    found = books.prediction(accepted.submitted.prediction_id)
    assert (found.status, found.attempts, found.claim_no) == ("running", 1, accepted.job.claim.claim_no)
    assert books.held() == found.price
    assert books.succeed(accepted.job)
    assert books.breaches() == []


@pytest.mark.parametrize("waiting", ["another account's", "a suspect's", "another model's"])
def test_a_submission_stands_behind_whatever_waits(books: Books, waiting: str):
    if waiting == "a suspect's":
        books.submit()
        books.do(lifecycle.retry_or_fail, books.now, books.claim_one().claim, FailureCode.WORKER_LOST, "lost")
    else:
        books.submit(books.open_account(), **({"model": "another/model"} if waiting == "another model's" else {}))
    accepted = books.accept()
    assert accepted.job is None
    assert books.status(accepted.submitted.prediction_id) == "queued"


def test_a_submission_for_another_model_is_not_claimed(books: Books):
    assert books.accept(model="another/model").job is None


def test_a_repeated_submission_is_claimed_once(books: Books):
    first, again = books.accept(key="k"), books.accept(key="k")
    assert first.job is not None
    assert again.job is None
    assert again.submitted.prediction_id == first.submitted.prediction_id


def test_a_refused_submission_is_not_claimed(books: Books):
    with pytest.raises(InsufficientBalance):
        books.accept(books.open_account(grant=1))
    assert books.claim() == []
    assert books.breaches() == []


def test_what_is_claimed_at_once_counts_as_a_turn(books: Books):
    """Whose prediction went straight to a worker is not first again when others come to wait."""
    first, second = sorted([books.account, books.open_account()])
    books.accept(first)
    waiting = [books.submit(first), books.submit(second)]
    assert ids(books.claim()) == [waiting[1]]
