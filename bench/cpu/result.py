"""What is kept of one contender of a heat: every round, and what the rounds came to."""

from statistics import median
from typing import Any

Numbers = dict[str, Any]

MEASURED = "measured"
QUIET = 0.15
"""Cores that others may use while a contender is measured; with more its time means little."""
MUCH_READ = 16.0
"""MiB from the disk in one round: pages that were let go have to come back."""


def is_measured(result: Numbers) -> bool:
    return bool(result["status"] == MEASURED)


def seconds(result: Numbers) -> float:
    return median(result["runs"])


def part(result: Numbers, name: str) -> float:
    """The median of one of its parts: seconds, or the rate of a ceiling."""
    return median(result["parts"][name])


def others(result: Numbers) -> float:
    """Cores that others used, in its worst round."""
    return max(result["others"])


def mib_read(result: Numbers) -> float:
    """From the disk, in the round that read most; earlier results do not tell."""
    return max(result.get("mib_read", []), default=0.0)


def joined(before: Numbers, after: Numbers) -> Numbers:
    """The rounds of both, where both have some; all else is the latest."""
    if not (is_measured(before) and is_measured(after)):
        return after if is_measured(after) else before
    parts = {name: before["parts"].get(name, []) + values for name, values in after["parts"].items()}
    lists = {name: before.get(name, []) + after[name] for name in ("runs", "others", "mib_read")}
    return after | lists | {"parts": parts}
