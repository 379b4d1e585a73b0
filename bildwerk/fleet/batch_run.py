"""One batch on its way through a replica: events in, each prediction finished as soon as its last picture is there."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection

from bildwerk.domain.errors import StorageUnavailable
from bildwerk.domain.prediction import Claim, FailureCode, Output, Prediction
from bildwerk.engine.request import Event, GeneratedImage, Progress
from bildwerk.fleet.batching import as_output, merged_warnings, picture_key
from bildwerk.fleet.fleet import Replica, ReplicaFailed
from bildwerk.fleet.records import Records
from bildwerk.jobs import lifecycle
from bildwerk.jobs.engine_request import as_request
from bildwerk.jobs.progress import Stage
from bildwerk.jobs.queue import Job

log = structlog.get_logger("bildwerk.fleet")

Transition = Callable[[Connection], Prediction | bool]
"""Says whether the claim was still good, or what has become of it."""


class BatchRun:
    """`open_claims` are those that are not yet finished, and that heartbeats must keep."""

    def __init__(self, jobs: Sequence[Job], replica: Replica, records: Records) -> None:
        self._jobs = {job.claim.prediction_id: job for job in jobs}
        self._open = dict(self._jobs)
        self._unwanted: set[str] = set()
        self._pictures: dict[str, list[GeneratedImage]] = {key: [] for key in self._jobs}
        self._replica = replica
        self._records = records
        self._finishing: set[asyncio.Task[None]] = set()

    @property
    def open_claims(self) -> list[Claim]:
        return [job.claim for job in self._open.values()]

    async def run(self) -> None:
        """Returns when the replica is free; `finished` awaits what is then still being stored."""
        failure = await self._drive()
        for job in self._undelivered():
            self._spawn(self._conclude(job, failure))

    async def finished(self) -> None:
        """Wait until all is stored. Raises what went wrong with any of it."""
        while self._finishing:
            await asyncio.gather(*self._finishing)

    async def drop(self, prediction_ids: Sequence[str]) -> None:
        """These claims are lost: compute no more for them and write nothing."""
        known = [key for key in prediction_ids if key in self._open]
        for key in known:
            del self._open[key]
        await self.cancel(known)

    async def cancel(self, prediction_ids: Sequence[str]) -> None:
        """These are no longer wanted by their owners: stop them at the next step."""
        known = [key for key in prediction_ids if key in self._jobs]
        self._unwanted.update(known)
        if known:
            await self._replica.cancel(known)

    async def give_back(self) -> None:
        """Leave everything unfinished to another attempt, without using one up."""
        for job in list(self._open.values()):
            await self._finish(job, self._records.database.write(partial(self._give_back, job.claim)))

    def _give_back(self, claim: Claim, connection: Connection) -> bool:
        return lifecycle.give_back(connection, self._records.now(), claim)

    async def _drive(self) -> ReplicaFailed | None:
        try:
            async with aclosing(
                self._replica.generate([as_request(job.input, key) for key, job in self._jobs.items()])
            ) as events:
                async for event in events:
                    self._take(event)
        except ReplicaFailed as failure:
            log.warning("batch failed", worker=self._replica.name, code=failure.code, reason=failure.message)
            return failure
        return None

    def _take(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._report(event)
            return
        job = self._jobs.get(event.request_id)
        if job is None:
            raise ReplicaFailed(FailureCode.ENGINE_ERROR, "the worker made a picture that nobody asked for")
        pictures = self._pictures[event.request_id]
        pictures.append(event)
        if len(pictures) == job.images:
            self._spawn(self._store(job, pictures))

    def _report(self, event: Progress) -> None:
        for key in self._open:
            self._records.hub.report(key, Stage(event.stage, event.done, event.total))

    def _undelivered(self) -> list[Job]:
        return [job for key, job in self._open.items() if len(self._pictures[key]) < job.images]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _store(self, job: Job, pictures: list[GeneratedImage]) -> None:
        await self._finish(job, self._records.database.write_prepared(partial(self._stored, job, pictures)))

    def _stored(self, job: Job, pictures: list[GeneratedImage]) -> Transition:
        """The files first, and durable; then the row that says they are there."""
        ordered = sorted(pictures, key=lambda picture: picture.index)
        try:
            outputs = tuple(self._put(job, picture) for picture in ordered)
        except StorageUnavailable as error:
            return self._failure(job, FailureCode.STORAGE_ERROR, error.message)
        made = lifecycle.Made(outputs, dict(ordered[0].timings), merged_warnings(ordered))
        return lambda connection: lifecycle.succeed(connection, self._records.now(), job.claim, made)

    def _put(self, job: Job, picture: GeneratedImage) -> Output:
        return as_output(job, picture, self._records.files.put(picture_key(job, picture), picture.data))

    async def _conclude(self, job: Job, failure: ReplicaFailed | None) -> None:
        """What becomes of a job that got no pictures."""
        await self._finish(job, self._records.database.write(self._conclusion(job, failure)))

    def _conclusion(self, job: Job, failure: ReplicaFailed | None) -> Transition:
        if job.claim.prediction_id in self._unwanted:
            return lambda connection: lifecycle.finish_cancel(connection, self._records.now(), job.claim)
        if failure is None:
            failure = ReplicaFailed(FailureCode.ENGINE_ERROR, "the worker made no picture")
        return self._failure(job, self._blame(failure), failure.message)

    def _blame(self, failure: ReplicaFailed) -> FailureCode:
        """In a batch it is not known whose input was at fault: each is tried again, alone."""
        if failure.code is FailureCode.INVALID_INPUT and len(self._jobs) > 1:
            return FailureCode.ENGINE_ERROR
        return failure.code

    def _failure(self, job: Job, code: FailureCode, message: str) -> Transition:
        return lambda connection: lifecycle.retry_or_fail(connection, self._records.now(), job.claim, code, message)

    async def _finish(self, job: Job, writing: Awaitable[Prediction | bool]) -> None:
        """Wait for the job's last transition. Where the database takes no writes the claim is left to its lease."""
        key, written = job.claim.prediction_id, None
        try:
            written = await writing
            if not written and key in self._open:
                log.warning("claim lost", prediction=key, claim_no=job.claim.claim_no)
        except StorageUnavailable as error:
            log.error("prediction not finished", prediction=key, reason=error.message)
        self._open.pop(key, None)
        self._records.hub.changed(key, written if isinstance(written, Prediction) else None)
