"""A prediction: one request and its outcome. Its statuses, and the only ways from one to the next.

          ┌──────────────────── give back ───────────────────┐
          ▼                                                  │
submit ─ queued ──────────── claim ─────────────────────► running ── succeed ──► succeeded
          ├── cancel ──► canceled ◄──────── cancel ──────────┤
          └── expire ──► expired  ◄──────── expire ──────────┤
                                                             └── fail ─────────► failed
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

MAX_ATTEMPTS = 3


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


OPEN = frozenset({Status.QUEUED, Status.RUNNING})
TERMINAL = frozenset(Status) - OPEN

TRANSITIONS: frozenset[tuple[Status | None, Status]] = frozenset(
    {
        (None, Status.QUEUED),
        (Status.QUEUED, Status.RUNNING),
        (Status.QUEUED, Status.CANCELED),
        (Status.QUEUED, Status.EXPIRED),
        (Status.RUNNING, Status.QUEUED),
        (Status.RUNNING, Status.SUCCEEDED),
        (Status.RUNNING, Status.FAILED),
        (Status.RUNNING, Status.CANCELED),
        (Status.RUNNING, Status.EXPIRED),
    }
)


class FailureCode(StrEnum):
    """Why a prediction ended without a picture; none of them is charged."""

    INVALID_INPUT = "invalid_input"
    OUT_OF_MEMORY = "out_of_memory"
    WORKER_LOST = "worker_lost"
    RUN_TIMEOUT = "run_timeout"
    ENGINE_ERROR = "engine_error"
    STORAGE_ERROR = "storage_error"
    CANCELED = "canceled"
    EXPIRED = "expired"


FAILURE_NUMBERS: dict[FailureCode, int] = {
    FailureCode.INVALID_INPUT: 1001,
    FailureCode.OUT_OF_MEMORY: 2001,
    FailureCode.WORKER_LOST: 2002,
    FailureCode.RUN_TIMEOUT: 2003,
    FailureCode.ENGINE_ERROR: 2004,
    FailureCode.STORAGE_ERROR: 2005,
    FailureCode.CANCELED: 3001,
    FailureCode.EXPIRED: 3002,
}
"""The numeric `error_code` of the wire: 1xxx the input, 2xxx the machinery, 3xxx the caller's own wish."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One worker's right to finish one prediction. `claim_no` is the fence: new at every claim, and only growing."""

    prediction_id: str
    claim_no: int
    worker: str


@dataclass(frozen=True, slots=True)
class Output:
    """One stored picture. `claim_no` says which claim made it; `byte_count` and `sha256` are those of the file."""

    index: int
    claim_no: int
    object_key: str
    sha256: str
    byte_count: int
    media_type: str
    width: int
    height: int
    seed: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row, as read. Times are milliseconds since 1970 (UTC); `price` is micro-dollars for all of its images.

    `warnings` are those of the submission and, once it has succeeded, the engine's; `timings` are seconds by stage.
    """

    id: str
    account_id: str
    model: str
    status: Status
    claim_no: int
    attempts: int
    cancel_requested: bool
    price: int
    images: int
    input: dict[str, Any]
    request_body: str
    as_base64: bool
    warnings: tuple[str, ...]
    submit_warnings: tuple[str, ...]
    error_code: FailureCode | None
    error: str
    timings: dict[str, float]
    created_at: int
    started_at: int | None
    finished_at: int | None
    outputs_expire_at: int | None
    outputs: tuple[Output, ...] = ()

    @property
    def as_submitted(self) -> "Prediction":
        """How it looked at the moment of its submission, whatever has become of it since."""
        return replace(
            self,
            status=Status.QUEUED,
            warnings=self.submit_warnings,
            error_code=None,
            error="",
            started_at=None,
            finished_at=None,
            outputs=(),
        )
