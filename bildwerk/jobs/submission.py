"""A valid, priced request on its way to becoming a prediction."""

import secrets
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The caller's own name for the request, and the SHA-256 of its body."""

    key: str
    body_hash: str


@dataclass(frozen=True, slots=True)
class Submission:
    """`input` is what the engine will be asked for; `request_body` is what the caller sent, without picture data.

    `price` is micro-dollars for all images. `cancel_at` is a moment in milliseconds after which it is no longer wanted.
    """

    prediction_id: str
    account_id: str
    api_key_id: str | None
    model: str
    input: dict[str, Any]
    request_body: str
    batch_key: str
    images: int
    price: int
    as_base64: bool = False
    object_hours: int = 336
    request_hours: int | None = None
    cancel_at: int | None = None
    webhook_url: str | None = None
    warnings: tuple[str, ...] = ()
    idempotency: IdempotencyKey | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many predictions may wait, and for how many milliseconds."""

    per_account: int = 100
    in_all: int = 10_000
    ttl_ms: int = 3_600_000


def new_prediction_id() -> str:
    """128 random bits: not to be guessed."""
    return f"pred_{secrets.token_hex(16)}"
