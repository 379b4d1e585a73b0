"""How often a key may ask: a token bucket for each key and kind of request, told to clients by the IETF's fields."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from bildwerk.domain.errors import RateLimited

MAX_BUCKETS = 10_000
WINDOW_SECONDS = 60


@dataclass(slots=True)
class Bucket:
    """What is left of a minute's requests, as of `at`."""

    left: float
    at: float


@dataclass(frozen=True, slots=True)
class Allowance:
    """Of `quota` requests a minute `remaining` are left, all again after `reset` seconds.

    `retry_after` is 0 for a request that is allowed, else the seconds until one would be.
    """

    name: str
    quota: int
    remaining: int
    reset: int
    retry_after: float = 0.0

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.name}";r={self.remaining};t={self.reset}',
        }

    def require(self) -> None:
        """Raises `RateLimited` for a request that is not allowed."""
        if self.retry_after:
            message = f"more than {self.quota} {self.name} requests a minute with this key"
            raise RateLimited(message, retry_after=self.retry_after)


class RateLimiter:
    """`quotas` are requests a minute by kind. A full bucket holds a minute's worth."""

    def __init__(self, quotas: dict[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._quotas = quotas
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def take(self, key_id: str, kind: str) -> Allowance:
        """Use up one request, if one is left."""
        quota = self._quotas[kind]
        seconds_each = WINDOW_SECONDS / quota
        bucket = self._refilled(key_id, kind, quota)
        retry_after = 0.0
        if bucket.left >= 1:
            bucket.left -= 1
        else:
            retry_after = (1 - bucket.left) * seconds_each
        reset = math.ceil((quota - bucket.left) * seconds_each)
        return Allowance(kind, quota, int(bucket.left), reset, retry_after)

    def _refilled(self, key_id: str, kind: str, quota: int) -> Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault((key_id, kind), Bucket(quota, now))
        self._buckets.move_to_end((key_id, kind))
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        bucket.left = min(quota, bucket.left + (now - bucket.at) * quota / WINDOW_SECONDS)
        bucket.at = now
        return bucket
