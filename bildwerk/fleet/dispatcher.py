"""The supervisor of all computing: it claims batches when a replica has room, keeps their leases, and finishes them.

Replicas only compute; whatever touches the database or the stored files is done here. The database is the truth, so
all that is kept in memory may be lost: the next start takes every open claim back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from bildwerk.domain.errors import StorageUnavailable
from bildwerk.domain.prediction import Claim
from bildwerk.fleet.batch_run import BatchRun
from bildwerk.fleet.fleet import Replica
from bildwerk.fleet.intake import Intake, Pace
from bildwerk.fleet.records import Records
from bildwerk.jobs import idempotency, lifecycle, queue
from bildwerk.jobs.lifecycle import Submitted
from bildwerk.jobs.queue import Job
from bildwerk.jobs.submission import QueueLimits, Submission
from bildwerk.jobs.workers import Health, State

log = structlog.get_logger("bildwerk.fleet")


class Dispatcher:
    def __init__(self, records: Records, replicas: Sequence[Replica], pace: Pace) -> None:
        self.replicas = tuple(replicas)
        self._records = records
        self._pace = pace
        self._intake = Intake(records, replicas, pace)
        self._runs: set[BatchRun] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._serving: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take back what an earlier process left running, and begin."""
        taken = await self._records.database.write(
            lambda connection: lifecycle.take_back_all(connection, self._records.now())
        )
        if taken:
            log.warning("predictions of an earlier run taken back", count=len(taken))
        self._tasks = [asyncio.create_task(replica.run()) for replica in self.replicas]
        self._tasks += [
            asyncio.create_task(self._repeat(self._pace.heartbeat, self._heartbeat)),
            asyncio.create_task(self._repeat(self._pace.poll, self._keep_time)),
            asyncio.create_task(self._repeat(self._pace.forget, self._forget)),
        ]
        self._serving = [asyncio.create_task(self._serve(replica)) for replica in self.replicas]

    def wake(self) -> None:
        """Something may be waiting. Losing this call costs one poll interval and nothing else."""
        self._intake.wake()

    async def submit(self, submission: Submission, limits: QueueLimits) -> Submitted:
        """Written down, durably, when this returns. Raises what `lifecycle.submit` raises, and `StorageUnavailable`."""
        return await self._intake.submit(submission, limits)

    async def cancel(self, prediction_id: str) -> None:
        """Tell whoever computes it; a prediction that nobody computes needs no telling."""
        for run in list(self._runs):
            await run.cancel([prediction_id])
        self._records.hub.changed(prediction_id)

    def can_serve(self, model: str) -> bool:
        """Whether some replica answers for the model, or will once it has started."""
        states = [replica.health.state for replica in self.replicas if model in replica.models]
        return any(state in (State.STARTING, State.READY) for state in states)

    def health(self) -> list[Health]:
        return [replica.health for replica in self.replicas]

    def stop_claiming(self) -> None:
        self._intake.close()

    async def drain(self) -> None:
        """Finish what runs, within the drain time; give the rest back; end every replica."""
        self.stop_claiming()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.drain):
                await self._idle()
        await self.give_back()
        await end_tasks(self._serving)
        for replica in self.replicas:
            await replica.stop()
        await end_tasks(self._tasks)

    async def give_back(self) -> None:
        """Stop at once: whatever is unfinished goes back to the queue and keeps its attempt."""
        self.stop_claiming()
        for run in list(self._runs):
            with suppress(StorageUnavailable):
                await run.give_back()
        self._runs.clear()

    async def _idle(self) -> None:
        """A claim that is on its way counts as work: cut off, it would stay claimed by nobody."""
        while self._runs or self._intake.claiming:
            await asyncio.sleep(0.02)

    async def _serve(self, replica: Replica) -> None:
        """One replica's life: wait until it can work, claim, run, and then what is brought; again."""
        while not self._intake.is_closed:
            await replica.wait_until_ready()
            try:
                await self._run(replica, await self._intake.claim(replica))
                while (jobs := await self._intake.brought(replica)) is not None:
                    await self._run(replica, jobs)
            except StorageUnavailable as error:
                log.error("nothing can be claimed", reason=error.message)
                await asyncio.sleep(self._pace.after_error)
            except Exception:  # a bug in one batch must not end the service of all others
                log.exception("a batch failed")
                await asyncio.sleep(self._pace.after_error)

    async def _run(self, replica: Replica, jobs: list[Job]) -> None:
        if not jobs:
            return
        run = BatchRun(jobs, replica, self._records)
        self._runs.add(run)
        try:
            await run.run()
        finally:
            finishing = asyncio.create_task(self._finish(run))
            self._tasks.append(finishing)
            finishing.add_done_callback(self._tasks.remove)

    async def _finish(self, run: BatchRun) -> None:
        try:
            await run.finished()
        except Exception:  # a bug: the claims are left to their leases
            log.exception("a batch could not be finished")
        finally:
            self._runs.discard(run)

    async def _heartbeat(self) -> None:
        claims = [claim for run in self._runs for claim in run.open_claims]
        if not claims:
            return
        beat = await self._records.database.write(
            lambda connection: queue.heartbeat(connection, self._records.now(), claims, self._pace.lease_ms)
        )
        still_open = self._open_ids(claims)
        for run in list(self._runs):
            await run.drop(sorted(beat.lost & still_open))
            await run.cancel(sorted(beat.cancel_requested))

    def _open_ids(self, claims: Sequence[Claim]) -> set[str]:
        """Those of `claims` that are open now: what was finished while the heartbeat ran is not lost."""
        now_open = {claim for run in self._runs for claim in run.open_claims}
        return {claim.prediction_id for claim in claims if claim in now_open}

    async def _keep_time(self) -> None:
        """Take back what has outlived its lease; end what has outlived its owner's patience."""
        expired = await self._records.database.write(
            lambda connection: lifecycle.expire(connection, self._records.now())
        )
        reaped = await self._records.database.write(lambda connection: lifecycle.reap(connection, self._records.now()))
        for prediction_id in (*expired, *reaped):
            self._records.hub.changed(prediction_id)
        for run in list(self._runs):
            await run.drop([*expired, *reaped])

    async def _forget(self) -> None:
        await self._records.database.write(lambda connection: idempotency.forget_old(connection, self._records.now()))

    async def _repeat(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await action()
            except StorageUnavailable as error:
                log.error("the database does not answer", reason=error.message)
            except Exception:  # a bug must not end the heartbeats of everybody else
                log.exception("housekeeping failed")


async def end_tasks(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()
