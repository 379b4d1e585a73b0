"""One request under one key makes one prediction, however often it is sent.

The key's row is written in the submission's own transaction, so there is no moment at which a second request could
find the key without its prediction.
"""

import hashlib

from sqlalchemy import Connection, bindparam, delete, insert, select

from bildwerk.domain.errors import IdempotencyMismatch
from bildwerk.jobs.submission import IdempotencyKey, Submission
from bildwerk.store.schema import idempotency_keys
from bildwerk.store.statement import Statement

KEPT_MS = 24 * 3_600_000

EARLIER = Statement(
    select(idempotency_keys).where(
        idempotency_keys.c.account_id == bindparam("account_id"), idempotency_keys.c.key == bindparam("key")
    )
)
NEW_KEY = Statement(insert(idempotency_keys))


def body_hash(canonical_body: bytes) -> str:
    return hashlib.sha256(canonical_body).hexdigest()


def find(connection: Connection, account_id: str, wanted: IdempotencyKey | None) -> str | None:
    """The prediction that this key made. Raises `IdempotencyMismatch` when its body was another."""
    if wanted is None:
        return None
    row = EARLIER.row(connection, {"account_id": account_id, "key": wanted.key})
    if row is None:
        return None
    if row.body_hash != wanted.body_hash:
        raise IdempotencyMismatch()
    return str(row.prediction_id)


def remember(connection: Connection, now: int, submission: Submission) -> None:
    if submission.idempotency is None:
        return
    values = {
        "account_id": submission.account_id,
        "key": submission.idempotency.key,
        "body_hash": submission.idempotency.body_hash,
        "prediction_id": submission.prediction_id,
        "created_at": now,
    }
    NEW_KEY.run(connection, values)


def forget_old(connection: Connection, now: int) -> int:
    """Delete keys older than a day; returns how many there were."""
    return connection.execute(delete(idempotency_keys).where(idempotency_keys.c.created_at < now - KEPT_MS)).rowcount
