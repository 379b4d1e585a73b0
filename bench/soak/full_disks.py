"""The lane of full disks: the disk under a service that takes orders fills up to its last byte, and is emptied again.

Database, pictures and log lie on it. Meanwhile orders are taken or answered with 503, nothing is held for those that
were not taken, and the service lives; afterwards all that was acknowledged is made, and every file is whole.

    python -m bench.soak.full_disks [--rounds 10] [--minutes 10] [--seed N]
"""

import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.soak.disk import command
from bench.soak.lane import Course, perform
from bench.soak.orders import Crowd, OrderBook
from bench.soak.recovery import LIFTED, odd_answers, recovered
from tests.faults.damage import QUICK
from tests.live_service import LiveService, live_service

SIZE = "64m"
UNGUARDED = {"BILDWERK_LIMIT_FREE_DISK_BYTES": "1"}
"""So that the disk gets full, and is not only nearly full."""


def fill_up(folder: Path) -> Path:
    """Take every byte that is left. Returns the file that has them."""
    balloon = folder / "balloon"
    with balloon.open("ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return balloon


def fill_under_load(service: LiveService, folder: Path, book: OrderBook, name: str, chance: random.Random) -> list[str]:
    """One filling and emptying. Returns what was broken."""
    crowd = Crowd(service, book, name)
    crowd.start()
    time.sleep(chance.uniform(0.1, 1.0))
    balloon = fill_up(folder)
    time.sleep(chance.uniform(0.5, 2.0))
    balloon.unlink()
    time.sleep(chance.uniform(0.1, 0.5))
    crowd.end()
    if service.process.poll() is not None:
        return [f"it ended with status {service.process.returncode}"]
    return [*recovered(service, book), *odd_answers(book)]


def run(course: Course) -> dict[str, Any]:
    """Raises `NoDisk` where no disk of a fixed size can be mounted."""
    folder = course.folder
    command("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder))
    try:
        options = ("--fake-step-seconds", "0.01")
        with live_service(folder / "data", *options, environment={**QUICK, **LIFTED, **UNGUARDED}) as service:
            for number in course.numbered():
                course.breaches += fill_under_load(service, folder, course.book, f"round-{number}", course.chance)
            course.take_down(service)
    finally:
        command("umount", "-l", str(folder))
    return course.numbers(**{"times full": course.done})


def main() -> None:
    perform("full_disks", "a full disk under a service that takes orders", run, rounds=10, minutes=10)


if __name__ == "__main__":
    main()
