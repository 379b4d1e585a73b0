"""How work comes to replicas: they claim it from the queue, or it is brought to one that sits there with nothing to do.

What is brought was claimed by the transaction that submitted it, so that a prediction of an idle service needs one
transaction less, and a COMMIT less, before it is computed.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from bildwerk.fleet.fleet import Replica
from bildwerk.fleet.records import Records
from bildwerk.fleet.seat import Seat
from bildwerk.jobs import queue
from bildwerk.jobs.fairness import FairShare
from bildwerk.jobs.lifecycle import Submitted
from bildwerk.jobs.queue import Accepted, Job, Room
from bildwerk.jobs.submission import QueueLimits, Submission
from bildwerk.jobs.workers import State


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between looks at the clock, and how long claims are good for."""

    lease: float = 30.0
    heartbeat: float = 5.0
    poll: float = 1.0
    drain: float = 120.0
    after_error: float = 1.0
    forget: float = 600.0

    @property
    def lease_ms(self) -> int:
        return int(self.lease * 1000)


class Intake:
    """To be used from the event loop's thread alone."""

    def __init__(self, records: Records, replicas: Sequence[Replica], pace: Pace) -> None:
        self.is_closed = False
        self.claiming = 0
        """Claims that are on their way. Nobody's run knows of them yet."""
        self._records = records
        self._pace = pace
        self._share = FairShare()
        self._seats = {replica: Seat[Accepted]() for replica in replicas}

    def wake(self) -> None:
        """Something may be waiting. Losing this call costs one poll interval and nothing else."""
        for seat in self._seats.values():
            seat.call()

    def close(self) -> None:
        """From now on nothing is claimed. Submissions are still written down."""
        self.is_closed = True
        self.wake()

    async def submit(self, submission: Submission, limits: QueueLimits) -> Submitted:
        """Written down, durably, when this returns, and then on its way to a worker that had nothing to do.

        Raises what `lifecycle.submit` raises, and `StorageUnavailable`.
        """
        replica = self._free_replica(submission.model)
        room = None if replica is None else self._room(replica)
        accepting = asyncio.ensure_future(
            self._records.database.write(
                lambda connection: queue.accept(
                    connection, self._records.now(), submission, limits, room=room, share=self._share
                )
            )
        )
        if replica is not None:
            self.claiming += 1
            self._seats[replica].bring(accepting)
        accepted = await asyncio.shield(accepting)  # a caller who leaves must not take it away from the replica
        if accepted.job is None:
            self.wake()
        await asyncio.sleep(0)  # the replica goes first
        return accepted.submitted

    async def claim(self, replica: Replica) -> list[Job]:
        """A batch from the queue; where more is left than fits into it, the replica need not wait for the next."""
        self._seats[replica].hush()
        if self.is_closed:
            return []
        room = self._room(replica)
        self.claiming += 1
        try:
            claimed = await self._records.database.write(
                lambda connection: queue.claim_batch(connection, self._records.now(), room, self._share)
            )
        finally:
            self.claiming -= 1
        if claimed.left:
            self._seats[replica].call()
        return claimed.jobs

    async def brought(self, replica: Replica) -> list[Job] | None:
        """What was brought to the replica, perhaps in vain; None when it is time to look for work."""
        accepting = await self._seats[replica].wait(self._pace.poll)
        return None if accepting is None else await self._claimed_by(accepting)

    async def _claimed_by(self, accepting: Awaitable[Accepted]) -> list[Job]:
        try:
            accepted = await asyncio.shield(accepting)
        except Exception:  # who submitted it hears why
            return []
        finally:
            self.claiming -= 1
        return [] if accepted.job is None else [accepted.job]

    def _free_replica(self, model: str) -> Replica | None:
        """One that answers for the model and could begin at once."""
        if self.is_closed:
            return None
        free = (replica for replica, seat in self._seats.items() if seat.is_free and model in replica.models)
        return next((replica for replica in free if replica.health.state is State.READY), None)

    def _room(self, replica: Replica) -> Room:
        return Room(replica.name, replica.models, replica.max_images, self._pace.lease_ms)
