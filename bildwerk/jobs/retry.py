"""Which failures are tried again, and after how long. What the caller got wrong never is."""

from dataclasses import dataclass

from bildwerk.domain.prediction import MAX_ATTEMPTS, FailureCode

BACKOFF_MS = (2_000, 10_000)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `max_attempts` attempts; before attempt n + 1 a pause of `backoff_ms[n - 1]`."""

    max_attempts: int
    backoff_ms: tuple[int, ...] = BACKOFF_MS

    def pause_after(self, attempts: int) -> int | None:
        """Milliseconds until the next attempt when `attempts` have been used up; None: no more."""
        if attempts >= self.max_attempts:
            return None
        return self.backoff_ms[min(attempts, len(self.backoff_ms)) - 1] if attempts else 0


NEVER = RetryPolicy(1)
ONCE = RetryPolicy(2)
ALWAYS = RetryPolicy(MAX_ATTEMPTS)

POLICIES: dict[FailureCode, RetryPolicy] = {
    FailureCode.INVALID_INPUT: NEVER,
    FailureCode.OUT_OF_MEMORY: ONCE,
    FailureCode.WORKER_LOST: ALWAYS,
    FailureCode.RUN_TIMEOUT: ALWAYS,
    FailureCode.ENGINE_ERROR: ALWAYS,
    FailureCode.STORAGE_ERROR: ALWAYS,
    FailureCode.CANCELED: NEVER,
    FailureCode.EXPIRED: NEVER,
}
