"""The dispatcher over a real database and an engine in this process."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bildwerk.domain.errors import InsufficientBalance, StorageUnavailable
from bildwerk.domain.prediction import Status
from bildwerk.engine.fake import FakeEngine
from bildwerk.engine.request import GenerateRequest
from bildwerk.fleet.dispatcher import Dispatcher
from bildwerk.fleet.inline import InlineReplica
from bildwerk.fleet.intake import Pace
from bildwerk.fleet.records import Records
from bildwerk.jobs import lifecycle
from bildwerk.jobs.engine_request import as_input
from bildwerk.jobs.progress import ProgressHub
from bildwerk.jobs.submission import QueueLimits
from bildwerk.jobs.workers import Health, State
from bildwerk.store import predictions
from bildwerk.store.database import Database
from bildwerk.store.files import MemoryFiles, StoredFile
from tests.books import LEASE_MS, MODEL, Books
from tests.inline_service import tiny_spec

PACE = Pace(poll=0.02, heartbeat=0.05, drain=30.0)
NEVER_LOOKING = Pace(poll=600.0, drain=30.0)
"""Only a wake or a claim that left something starts the next."""
INPUT = as_input(GenerateRequest("a lake", 64, 64, 4, 7))


def dispatched(
    books: Books,
    folder: Path,
    test: Callable[[Dispatcher], Awaitable[None]],
    *,
    step_seconds: float = 0.0,
    pace: Pace = PACE,
    models: Sequence[str] = (MODEL,),
    files: MemoryFiles | None = None,
) -> None:
    """Run `test` beside a dispatcher with a replica for each of `models`, then drain it."""

    async def run() -> None:
        database = Database(folder / "books.db", is_guest=True)
        records = Records(database, files or MemoryFiles(), ProgressHub(), lambda: books.now)
        engine = FakeEngine(tiny_spec(), step_seconds)
        replicas = [InlineReplica(f"inline {model}", frozenset({model}), engine) for model in models]
        dispatcher = Dispatcher(records, replicas, pace)
        await dispatcher.start()
        await test(dispatcher)
        await dispatcher.drain()
        database.close()

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


def test_what_waits_is_made(books: Books, tmp_path: Path):
    predictions = [books.submit(input=INPUT) for _ in range(5)]

    async def test(dispatcher: Dispatcher) -> None:
        dispatcher.wake()
        await until(lambda: all(books.status(each) is Status.SUCCEEDED for each in predictions))

    dispatched(books, tmp_path, test)


class FullFiles(MemoryFiles):
    def put(self, key: str, data: bytes) -> StoredFile:
        raise StorageUnavailable("the disk is full")


def test_a_picture_that_cannot_be_stored_goes_back_without_waiting_for_its_lease(books: Books, tmp_path: Path):
    prediction = books.submit(input=INPUT)

    async def test(dispatcher: Dispatcher) -> None:
        dispatcher.wake()
        await until(lambda: books.steps(prediction) == ["queued", "running", "queued"])
        query = text("SELECT detail FROM history ORDER BY seq DESC LIMIT 1")
        assert books.do(lambda connection: connection.execute(query).scalar_one()).startswith("storage_error")

    dispatched(books, tmp_path, test, files=FullFiles())


def test_work_that_a_batch_had_no_room_for_follows_at_once(books: Books, tmp_path: Path):
    predictions = [books.submit(input=INPUT, batch_key=key) for key in ("one", "two", "three")]

    async def test(_dispatcher: Dispatcher) -> None:
        await until(lambda: all(books.status(each) is Status.SUCCEEDED for each in predictions))

    dispatched(books, tmp_path, test, pace=NEVER_LOOKING)


def test_a_wake_that_finds_a_replica_busy_is_kept_for_it(books: Books, tmp_path: Path):
    first = books.submit(input=INPUT)

    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: books.status(first) is Status.RUNNING)
        second = books.submit(input=INPUT)
        dispatcher.wake()
        await until(lambda: books.status(second) is Status.SUCCEEDED)

    dispatched(books, tmp_path, test, step_seconds=0.1, pace=NEVER_LOOKING, models=(MODEL, "another/model"))


def test_draining_finishes_what_runs_and_claims_nothing_more(books: Books, tmp_path: Path):
    first = books.submit(input=INPUT)

    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: books.status(first) is Status.RUNNING)
        books.submit(input=INPUT)
        dispatcher.stop_claiming()

    dispatched(books, tmp_path, test, step_seconds=0.1)
    assert books.status(first) is Status.SUCCEEDED
    assert len(books.claim(max_images=4)) == 1


def test_a_short_drain_gives_back_with_the_attempt(books: Books, tmp_path: Path):
    prediction = books.submit(input=INPUT)

    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: books.status(prediction) is Status.RUNNING)

    dispatched(books, tmp_path, test, step_seconds=0.3, pace=Pace(poll=0.02, drain=0.0))
    found = books.prediction(prediction)
    assert (found.status, found.attempts) == (Status.QUEUED, 0)


def test_a_heartbeat_tells_the_worker_of_a_wish_that_it_was_not_told(books: Books, tmp_path: Path):
    prediction = books.submit(input=INPUT)

    async def test(_dispatcher: Dispatcher) -> None:
        await until(lambda: books.status(prediction) is Status.RUNNING)
        books.do(lifecycle.cancel, books.now, books.account, prediction)
        await until(lambda: books.status(prediction) is Status.CANCELED)

    dispatched(books, tmp_path, test, step_seconds=0.3)


def test_what_another_took_away_is_dropped_and_writes_nothing(books: Books, tmp_path: Path):
    prediction = books.submit(input=INPUT)

    async def test(_dispatcher: Dispatcher) -> None:
        await until(lambda: books.status(prediction) is Status.RUNNING)
        stolen = text("UPDATE predictions SET worker = 'another', lease_until = 9e15 WHERE id = :id")
        books.do(lambda connection: connection.execute(stolen, {"id": prediction}))

    dispatched(books, tmp_path, test, step_seconds=0.2)
    assert books.status(prediction) is Status.RUNNING
    assert books.prediction(prediction).outputs == ()


@pytest.mark.parametrize("end", ["cancel_at", "lease"])
def test_what_has_outlived_its_time_is_taken_from_the_worker(
    end: str, books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told: list[str] = []
    cancel = InlineReplica.cancel

    async def note(replica: InlineReplica, request_ids: Sequence[str]) -> None:
        told.extend(request_ids)
        await cancel(replica, request_ids)

    monkeypatch.setattr(InlineReplica, "cancel", note)
    prediction = books.submit(input=INPUT, cancel_at=books.now + 1_000 if end == "cancel_at" else None)

    async def test(_dispatcher: Dispatcher) -> None:
        await until(lambda: books.status(prediction) is Status.RUNNING)
        books.now += 2_000 if end == "cancel_at" else LEASE_MS + 1
        await until(lambda: books.status(prediction) is not Status.RUNNING)

    no_heartbeat = Pace(poll=0.02, heartbeat=3_600.0, lease=LEASE_MS / 1_000)
    dispatched(books, tmp_path, test, step_seconds=1.0, pace=no_heartbeat)
    assert told == [prediction]


@pytest.mark.parametrize("pictures", [1, 3])
def test_an_impossible_input_fails_as_the_callers_own(books: Books, tmp_path: Path, pictures: int):
    prediction = books.submit(input={**INPUT, "steps": 0, "num_images": pictures}, images=pictures)

    async def test(_dispatcher: Dispatcher) -> None:
        await until(lambda: books.status(prediction) is Status.FAILED)

    dispatched(books, tmp_path, test)
    assert books.prediction(prediction).error_code == "invalid_input"


def is_free(dispatcher: Dispatcher) -> bool:
    """A replica has nothing to do, and nothing is being claimed for it."""
    return all(seat.is_free for seat in dispatcher._intake._seats.values())


async def accept(dispatcher: Dispatcher, books: Books, **more: Any) -> str:
    return (await dispatcher.submit(books.submission(**{"input": INPUT, **more}), QueueLimits())).prediction_id


def test_an_idle_replica_gets_a_submission_without_looking_for_it(books: Books, tmp_path: Path):
    """Both of them, one after the other, each in the transaction that writes it down."""
    statuses = []

    async def test(dispatcher: Dispatcher) -> None:
        for _ in range(2):
            await until(lambda: is_free(dispatcher))
            prediction = await accept(dispatcher, books)
            statuses.append(books.status(prediction))
            await until(lambda made=prediction: books.status(made) is Status.SUCCEEDED)

    dispatched(books, tmp_path, test, step_seconds=0.05, pace=NEVER_LOOKING)
    assert statuses == [Status.RUNNING, Status.RUNNING]
    assert books.breaches() == []


def test_submissions_to_a_busy_replica_wait_their_turn(books: Books, tmp_path: Path):
    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: is_free(dispatcher))
        predictions = await asyncio.gather(*(accept(dispatcher, books) for _ in range(3)))
        assert [books.status(each) for each in predictions] == [Status.RUNNING, Status.QUEUED, Status.QUEUED]
        await until(lambda: all(books.status(each) is Status.SUCCEEDED for each in predictions))

    dispatched(books, tmp_path, test, step_seconds=0.05, pace=NEVER_LOOKING)


def test_a_submission_that_stands_behind_others_starts_the_first_of_them(books: Books, tmp_path: Path):
    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: is_free(dispatcher))
        first = books.submit(input=INPUT)
        second = await accept(dispatcher, books)
        await until(lambda: {books.status(first), books.status(second)} == {Status.SUCCEEDED})

    dispatched(books, tmp_path, test, pace=NEVER_LOOKING)


def test_a_refused_submission_leaves_the_replica_free(books: Books, tmp_path: Path):
    poor = books.open_account(grant=0)

    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: is_free(dispatcher))
        with pytest.raises(InsufficientBalance):
            await accept(dispatcher, books, account=poor, images=2)
        await until(lambda: is_free(dispatcher))
        assert dispatcher._intake.claiming == 0
        prediction = await accept(dispatcher, books)
        await until(lambda: books.status(prediction) is Status.SUCCEEDED)

    dispatched(books, tmp_path, test, pace=NEVER_LOOKING)


def test_a_caller_who_leaves_does_not_take_the_prediction_along(books: Books, tmp_path: Path):
    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: is_free(dispatcher))
        submission = books.submission(input=INPUT)
        leaving = asyncio.create_task(dispatcher.submit(submission, QueueLimits()))
        await asyncio.sleep(0)
        leaving.cancel()
        await until(lambda: books.do(predictions.find, submission.prediction_id) is not None)
        await until(lambda: books.status(submission.prediction_id) is Status.SUCCEEDED)

    dispatched(books, tmp_path, test, pace=NEVER_LOOKING)


def test_a_caller_who_leaves_a_queue_behind_has_called_the_replica(books: Books, tmp_path: Path):
    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: is_free(dispatcher))
        first, second = books.submit(input=INPUT), books.submission(input=INPUT)
        leaving = asyncio.create_task(dispatcher.submit(second, QueueLimits()))
        await asyncio.sleep(0)
        leaving.cancel()
        await until(lambda: books.do(predictions.find, second.prediction_id) is not None)
        await until(lambda: {books.status(first), books.status(second.prediction_id)} == {Status.SUCCEEDED})

    dispatched(books, tmp_path, test, pace=NEVER_LOOKING)


def test_nothing_is_claimed_for_a_replica_that_cannot_begin(books: Books, tmp_path: Path, monkeypatch):
    starting, can_begin = Health("inline", State.STARTING, frozenset({MODEL})), asyncio.Event()
    monkeypatch.setattr(InlineReplica, "health", starting)

    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: is_free(dispatcher))
        monkeypatch.setattr(InlineReplica, "wait_until_ready", lambda _: can_begin.wait())
        prediction = await accept(dispatcher, books)
        assert books.status(prediction) is Status.QUEUED
        can_begin.set()
        await until(lambda: books.status(prediction) is Status.SUCCEEDED)

    dispatched(books, tmp_path, test, pace=NEVER_LOOKING)


def test_what_is_submitted_while_draining_is_left_to_the_next_start(books: Books, tmp_path: Path):
    submitted: list[str] = []

    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: is_free(dispatcher))
        dispatcher.stop_claiming()
        submitted.append(await accept(dispatcher, books))

    dispatched(books, tmp_path, test, pace=NEVER_LOOKING)
    assert books.status(submitted[0]) is Status.QUEUED


def test_a_submission_on_its_way_to_a_replica_is_finished_by_the_drain(books: Books, tmp_path: Path):
    submitted: list[str] = []

    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: is_free(dispatcher))
        submission = books.submission(input=INPUT)
        accepting = asyncio.create_task(dispatcher.submit(submission, QueueLimits()))
        await asyncio.sleep(0)
        dispatcher.stop_claiming()
        submitted.append((await accepting).prediction_id)

    dispatched(books, tmp_path, test, step_seconds=0.05, pace=NEVER_LOOKING)
    assert books.status(submitted[0]) is Status.SUCCEEDED


def test_a_claim_on_its_way_at_the_end_of_a_drain_is_given_back_with_the_attempt(books: Books, tmp_path: Path):
    submitted: list[str] = []

    async def test(dispatcher: Dispatcher) -> None:
        await until(lambda: is_free(dispatcher))
        submission = books.submission(input=INPUT)
        submitted.append(submission.prediction_id)
        accepting = asyncio.create_task(dispatcher.submit(submission, QueueLimits()))
        await asyncio.sleep(0)
        await dispatcher.drain()
        await accepting

    dispatched(books, tmp_path, test, step_seconds=0.3, pace=Pace(poll=600.0, drain=0.0))
    assert books.steps(submitted[0]) == ["queued", "running", "queued"]
    assert books.prediction(submitted[0]).attempts == 0
