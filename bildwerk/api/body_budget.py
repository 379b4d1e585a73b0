"""The memory that the bodies of all requests may take together, from their first byte to the answer."""

from collections.abc import Iterator
from contextlib import contextmanager

from bildwerk.domain.errors import Overloaded, TooLarge

UNCOUNTED_BYTES = 65_536
"""Of each request: whoever sends a prompt and no picture is not turned away for others' pictures."""


class BodyBudget:
    """`max_bytes` for all bodies, apart from the first `UNCOUNTED_BYTES` of each."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.left = max_bytes

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """One request's part, given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.left += share.taken


class Share:
    def __init__(self, budget: BodyBudget) -> None:
        self.taken = 0
        self._budget = budget
        self._received = 0

    def take(self, count: int) -> None:
        """Note `count` more bytes. Raises `Overloaded` when others' bodies leave too little, and `TooLarge`."""
        self._received += count
        more = max(0, self._received - UNCOUNTED_BYTES) - self.taken
        if self.taken + more > self._budget.max_bytes:
            raise TooLarge(f"the body is larger than {self._budget.max_bytes + UNCOUNTED_BYTES} bytes")
        if more > self._budget.left:
            raise Overloaded()
        self._budget.left -= more
        self.taken += more
