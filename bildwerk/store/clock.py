"""The service's clock: wall time that a jump of the wall clock cannot move.

It is read from the wall once, at start, and runs on by CLOCK_BOOTTIME, which also counts a suspended machine's sleep.
Leases and deadlines are compared with this clock alone.
"""

import time
from collections.abc import Callable

Now = Callable[[], int]
"""Milliseconds since 1970 (UTC)."""


def _elapsed_ms() -> int:
    """Milliseconds of an ever-growing clock; macOS has no CLOCK_BOOTTIME."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


def start_clock() -> Now:
    anchor = time.time_ns() // 1_000_000 - _elapsed_ms()
    return lambda: anchor + _elapsed_ms()
