"""Whose turn it is: start-time fair queueing over accounts.

Each account has a virtual time that grows by what it was served. The waiting account with the least goes next; one
that was idle starts at the present time, so that it neither saves up turns nor is made to wait for others' past.
"""

from collections.abc import Collection


class FairShare:
    """Lives in memory: losing it only forgets who had the last turn."""

    def __init__(self) -> None:
        self._virtual_time: dict[str, float] = {}
        self._present = 0.0

    def choose(self, waiting: Collection[str]) -> str:
        """The account whose turn it is; ties go by name, so that the choice is reproducible."""
        chosen = min(waiting, key=lambda account_id: (self._start(account_id), account_id))
        self._present = self._start(chosen)
        return chosen

    def charge(self, account_id: str, cost: float) -> None:
        self._virtual_time[account_id] = self._start(account_id) + cost

    def _start(self, account_id: str) -> float:
        return max(self._virtual_time.get(account_id, 0.0), self._present)
