"""The lane of power cuts: the disk under a service that takes orders stops at once, and all that was not on it is gone.

What was acknowledged must be there after the next start, end once, and have whole pictures: every cut is followed by a
start, by the repetition of every order that was not answered with 200, and by `bildwerk check` over books and files.

    python -m bench.soak.power_cuts [--rounds 50] [--minutes 20] [--seed N] [--folder FOLDER]
"""

import random
import signal
import time
from typing import Any

from bench.soak.disk import Disk, require_power_cuts
from bench.soak.lane import Course, perform
from bench.soak.orders import Crowd, OrderBook
from bench.soak.recovery import LIFTED, recovered
from tests.faults.damage import QUICK, kill
from tests.live_service import live_service

STEP_SECONDS = "0.01"


def serve(disk: Disk) -> Any:
    return live_service(disk.mount_point / "data", "--fake-step-seconds", STEP_SECONDS, environment={**QUICK, **LIFTED})


def cut_under_load(disk: Disk, book: OrderBook, name: str, chance: random.Random) -> list[str]:
    """One life of the service, which begins with the check of the one before. Returns what was broken."""
    with serve(disk) as service:
        breaches = recovered(service, book)
        crowd = Crowd(service, book, name)
        crowd.start()
        time.sleep(chance.uniform(0.3, 2.0))
        disk.lose_power()
        time.sleep(chance.uniform(0.0, 0.05))  # nothing may be acknowledged now
        kill(service.process.pid, signal.SIGKILL)
        service.process.wait()
        crowd.end()
    disk.unmount()
    disk.mount()
    return breaches


def run(course: Course) -> dict[str, Any]:
    """Raises `NoDisk` where there can be no power cuts."""
    require_power_cuts(course.folder)
    disk, book = Disk.make(course.folder), course.book
    try:
        for number in course.numbered():
            acknowledged = len(book.acknowledged)
            broken = cut_under_load(disk, book, f"life-{number}", course.chance)
            course.breaches += broken
            new = len(book.acknowledged) - acknowledged
            print(f"cut {number + 1}: {new} acknowledged, broken: {broken}", flush=True)
        with serve(disk) as service:
            course.breaches += recovered(service, book)
            course.take_down(service)
    finally:
        disk.unmount()
    return course.numbers(**{"power cuts": course.done, "refused": book.refused})


def main() -> None:
    perform("power_cuts", "power cuts of an ext4 disk under a service that takes orders", run, rounds=50, minutes=20)


if __name__ == "__main__":
    main()
