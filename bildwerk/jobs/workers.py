"""What the API asks of whoever computes: to take work and cancellations, and to say how they are."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bildwerk.jobs.lifecycle import Submitted
from bildwerk.jobs.submission import QueueLimits, Submission


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Health:
    """How a replica is, and why."""

    name: str
    state: State
    models: frozenset[str]
    reason: str = ""


class Workers(Protocol):
    async def submit(self, submission: Submission, limits: QueueLimits) -> Submitted:
        """Write a submission down, durably, and see that it is made. Raises what `lifecycle.submit` raises."""
        ...

    def wake(self) -> None:
        """Something may be waiting. Losing this call costs one poll interval and nothing else."""
        ...

    async def cancel(self, prediction_id: str) -> None:
        """Its owner no longer wants it: tell whoever computes it, if anybody does."""
        ...

    def can_serve(self, model: str) -> bool:
        """Whether some replica answers for the model, or will once it has started."""
        ...

    def health(self) -> list[Health]: ...
