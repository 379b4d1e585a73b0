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
    """What a request was allowed under: of `quota` a minute `remaining` are left, all again after `reset` seconds."""

    name: str
    quota: int
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"{self.name}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.name}";r={self.remaining};t={self.reset}',
        }


class RateLimiter:
    """`quotas` are requests a minute by kind. A full bucket holds a minute's worth."""

    def __init__(self, quotas: dict[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._quotas = quotas
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()

    def take(self, key_id: str, kind: str) -> Allowance:
        """Use up one request. Raises `RateLimited`, with the seconds until the next one."""
        quota = self._quotas[kind]
        bucket = self._refilled(key_id, kind, quota)
        if bucket.left < 1:
            wait = (1 - bucket.left) * WINDOW_SECONDS / quota
            raise RateLimited(f"more than {quota} {kind} requests a minute with this key", retry_after=wait)
        bucket.left -= 1
        reset = math.ceil((quota - bucket.left) * WINDOW_SECONDS / quota)
        return Allowance(kind, quota, int(bucket.left), reset)

    def _refilled(self, key_id: str, kind: str, quota: int) -> Bucket:
        now = self._clock()
        bucket = self._buckets.setdefault((key_id, kind), Bucket(quota, now))
        self._buckets.move_to_end((key_id, kind))
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        bucket.left = min(quota, bucket.left + (now - bucket.at) * quota / WINDOW_SECONDS)
        bucket.at = now
        return bucket
