"""Claiming what waits: a batch for one worker, under a lease that heartbeats prolong."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, select, update

from bildwerk.domain.prediction import Claim
from bildwerk.jobs import lifecycle
from bildwerk.jobs.fairness import FairShare
from bildwerk.jobs.lifecycle import Submitted
from bildwerk.jobs.submission import QueueLimits, Submission
from bildwerk.jobs.transition import fetch_claimed
from bildwerk.store.schema import predictions as table
from bildwerk.store.statement import Statement

CLAIMABLE = and_(
    table.c.status == "queued",
    table.c.not_before <= bindparam("now"),
    table.c.model.in_(bindparam("models", expanding=True)),
)
WAITING = select(table.c.account_id, func.count().label("waiting")).where(CLAIMABLE).group_by(table.c.account_id)
OLDEST = (
    select(table)
    .where(CLAIMABLE, table.c.account_id == bindparam("account_id"))
    .order_by(table.c.created_at, table.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
MATES = (
    select(table)
    .where(CLAIMABLE, table.c.batch_key == bindparam("batch_key"))
    .where(table.c.id != bindparam("head"), table.c.attempts == 0)
    .order_by(table.c.created_at, table.c.id)
    .limit(bindparam("room"))
    .with_for_update(skip_locked=True)
)
SUBMITTED = Statement(select(table).where(table.c.id == bindparam("submitted")))
PROLONG = (
    update(table).where(table.c.id.in_(bindparam("held", expanding=True))).values(lease_until=bindparam("new_end"))
)


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed prediction: what the dispatcher needs to have it made and stored."""

    claim: Claim
    account_id: str
    model: str
    input: dict[str, Any]
    images: int
    queued_ms: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A batch, and how many predictions could have been claimed beside it."""

    jobs: list[Job]
    left: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """What has become of a submission; `job` is it, where a worker could claim it in the same transaction."""

    submitted: Submitted
    job: Job | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the owner of claims must know: which of them are lost, and which are no longer wanted."""

    lost: frozenset[str]
    cancel_requested: frozenset[str]


@dataclass(frozen=True, slots=True)
class Room:
    """What a worker could take on now: pictures of these models, and for how long it may keep silent about them."""

    worker: str
    models: frozenset[str]
    max_images: int
    lease_ms: int


def accept(
    connection: Connection,
    now: int,
    submission: Submission,
    limits: QueueLimits,
    *,
    room: Room | None,
    share: FairShare,
) -> Accepted:
    """-> queued, and where nothing waits before it queued -> running for `room`, whose worker has nothing to do.

    Raises what `lifecycle.submit` raises.
    """
    submitted = lifecycle.submit(connection, now, submission, limits)
    if room is None or submitted.is_replay or submitted.waiting or submission.model not in room.models:
        return Accepted(submitted, None)
    row = SUBMITTED.row(connection, {"submitted": submitted.prediction_id})
    assert row is not None
    share.choose([row.account_id])
    return Accepted(submitted, take(connection, now, row, room, share))


def claim_batch(connection: Connection, now: int, room: Room, share: FairShare) -> Claimed:
    """queued -> running for the account whose turn it is, and for whatever may share a batch with its oldest job."""
    waiting = count_waiting(connection, now, room.models)
    if not waiting:
        return Claimed([], 0)
    head, count = oldest(connection, now, room.models, share.choose(waiting)), sum(waiting.values())
    rows = [head] if count == 1 else [head, *mates(connection, now, head, room.max_images)]
    jobs = [take(connection, now, row, room, share) for row in rows]
    return Claimed(jobs, count - len(jobs))


def take(connection: Connection, now: int, row: Any, room: Room, share: FairShare) -> Job:
    """queued -> running for `room`, on its account's bill."""
    share.charge(row.account_id, row.images)
    claimed = lifecycle.claim(connection, now, row, room.worker, room.lease_ms)
    return Job(claimed, row.account_id, row.model, json.loads(row.input), row.images, now - row.created_at)


def count_waiting(connection: Connection, now: int, models: Collection[str]) -> dict[str, int]:
    """How many could be claimed, by account."""
    rows = connection.execute(WAITING, {"now": now, "models": sorted(models)})
    return {row.account_id: row.waiting for row in rows}


def oldest(connection: Connection, now: int, models: Collection[str], account_id: str) -> Row[Any]:
    return connection.execute(OLDEST, {"now": now, "models": sorted(models), "account_id": account_id}).one()


def mates(connection: Connection, now: int, head: Row[Any], max_images: int) -> list[Row[Any]]:
    """Jobs to run together with `head`, oldest first, as many as there is room for.

    What has failed before runs alone: if it kills its worker again, it takes nobody along.
    """
    room = max_images - head.images
    if room <= 0 or head.attempts > 0:
        return []
    wanted = {"now": now, "models": [head.model], "batch_key": head.batch_key, "head": head.id, "room": room}
    return fitting(connection.execute(MATES, wanted).all(), room)


def fitting(rows: Sequence[Row[Any]], room: int) -> list[Row[Any]]:
    """The first rows whose images fit into `room` together."""
    taken = []
    for row in rows:
        if row.images > room:
            break
        room -= row.images
        taken.append(row)
    return taken


def heartbeat(connection: Connection, now: int, claims: Collection[Claim], lease_ms: int) -> Heartbeat:
    """Prolong the leases of `claims`, and say which of them are lost or no longer wanted."""
    rows = {claim: fetch_claimed(connection, claim) for claim in claims}
    held = {claim: row for claim, row in rows.items() if row is not None}
    connection.execute(PROLONG, {"held": [claim.prediction_id for claim in held], "new_end": now + lease_ms})
    return Heartbeat(
        lost=frozenset(claim.prediction_id for claim in claims if claim not in held),
        cancel_requested=frozenset(claim.prediction_id for claim, row in held.items() if row.cancel_requested),
    )
