"""The lane of stops: a service that takes orders is told to stop, again and again, and started again.

It ends by itself, in time and with status 0; whoever asks meanwhile gets 200, 503 or no connection; and what was
acknowledged is there after the next start and ends once.

    python -m bench.soak.stops [--rounds 50] [--minutes 10] [--seed N]
"""

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from bench.soak.lane import Course, perform
from bench.soak.orders import Crowd, OrderBook
from bench.soak.recovery import LIFTED, odd_answers, recovered
from tests.faults.damage import QUICK, kill
from tests.live_service import LiveService, live_service

DRAIN_SECONDS = 2.0
PATIENCE_SECONDS = DRAIN_SECONDS + 10.0


def serve(folder: Path) -> Any:
    environment = {**QUICK, **LIFTED, "BILDWERK_SECONDS_DRAIN": str(DRAIN_SECONDS)}
    return live_service(folder / "data", "--fake-step-seconds", "0.02", environment=environment)


def stop_under_load(folder: Path, book: OrderBook, name: str, chance: random.Random) -> tuple[list[str], float]:
    """One life of the service, which begins with the check of the one before: what was broken, and how long it took."""
    with serve(folder) as service:
        breaches = recovered(service, book)
        crowd = Crowd(service, book, name)
        crowd.start()
        time.sleep(chance.uniform(0.1, 1.5))
        seconds, late = stopped(service)
        crowd.end()
    return [*breaches, *late, *odd_answers(book)], seconds


def stopped(service: LiveService) -> tuple[float, list[str]]:
    """For how many seconds it went on after SIGTERM, and what was wrong with its end."""
    began = time.monotonic()
    kill(service.process.pid, signal.SIGTERM)
    try:
        status = service.process.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        return PATIENCE_SECONDS, [f"it went on for more than {PATIENCE_SECONDS:g} seconds after SIGTERM"]
    seconds = time.monotonic() - began
    return seconds, [] if status == 0 else [f"it ended with status {status}"]


def run(course: Course) -> dict[str, Any]:
    longest = 0.0
    for number in course.numbered():
        broken, seconds = stop_under_load(course.folder, course.book, f"life-{number}", course.chance)
        course.breaches += broken
        longest = max(longest, seconds)
    with serve(course.folder) as service:
        course.breaches += recovered(service, course.book)
        course.take_down(service)
    return course.numbers(**{"stops": course.done, "longest stop, seconds": round(longest, 1)})


def main() -> None:
    perform("stops", "SIGTERM to a service that takes orders", run, rounds=50, minutes=10)


if __name__ == "__main__":
    main()
