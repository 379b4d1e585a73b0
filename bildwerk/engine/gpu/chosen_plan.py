"""Which of the plans that fit is in use: the best, or a smaller one, for as long as a batch needs it or for good."""

from collections.abc import Sequence

from bildwerk.engine.buckets import Bucket
from bildwerk.engine.gpu.footprint import Measured, footprint
from bildwerk.engine.gpu.plan import Plan

MAX_FALLS = 3
"""In the life of a process, after the warm-up: each costs everybody a load. Later batches that do not fit fail."""


class ChosenPlan:
    """`taken` is in use, `home` is what usual batches should be made by. plans: at least one, the best first."""

    def __init__(self, plans: Sequence[Plan], measured: Measured, usual: Sequence[Bucket]) -> None:
        """measured: the networks as they were read. usual: the batches that all are made for."""
        self._plans, self._measured, self._usual = plans, measured, usual
        self.taken = self.home = plans[0]
        self.is_hurried = False
        """Whether what is in use was laid out while a batch waited for it."""
        self._falls = 0

    def is_large(self, batch: Bucket) -> bool:
        """Larger than any that is usual. Of a usual size it is made in parts, however many pictures it has."""
        sizes = {(usual.height, usual.width) for usual in self._usual}
        return (batch.height, batch.width) not in sizes and _pixels(batch) > _pixels(largest_of(self._usual))

    def smaller(self, batch: Bucket, free: int, *, records: bool) -> Plan | None:
        """Of the plans that take less than the one in use, the best that `free` bytes suffice for, or the smallest."""
        needs = {plan: footprint(plan, self._measured, batch, records=records).total for plan in self._plans}
        less = [plan for plan in self._plans if needs[plan] < needs[self.taken]]
        return next((plan for plan in less if needs[plan] <= free), min(less, key=needs.__getitem__, default=None))

    @property
    def may_fall(self) -> bool:
        return self._falls < MAX_FALLS

    def settle(self, plan: Plan) -> None:
        """While the networks are loaded or warmed up: for good, unless that is for a large batch."""
        self.taken = plan
        if not self.is_hurried:
            self.home = plan

    def fall(self, plan: Plan, batch: Bucket) -> None:
        """While that batch waits: for good where it is a usual one, else as long as large ones come."""
        self.taken, self.is_hurried = plan, True
        self._falls += 1
        if not self.is_large(batch):
            self.home = plan

    def come_back(self) -> None:
        self.taken, self.is_hurried = self.home, False


def largest_of(buckets: Sequence[Bucket]) -> Bucket:
    return max(buckets, key=_pixels)


def _pixels(bucket: Bucket) -> int:
    return bucket.batch * bucket.height * bucket.width
