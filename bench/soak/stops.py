"""The lane of stops: a service that takes orders is told to stop, again and again, and started again.

It ends by itself, in time and with status 0; whoever asks meanwhile gets 200, 503 or no connection; and what was
acknowledged is there after the next start and ends once.

    python -m bench.soak.stops [--rounds 50] [--minutes 10] [--seed N]
"""

import argparse
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.circumstances import circumstances
from bench.soak.orders import Crowd, OrderBook
from bench.soak.power_cuts import LIFTED, recovered, statuses
from bench.soak.record import keep
from tests.faults.damage import QUICK, kill
from tests.live_service import LiveService, live_service

DRAIN_SECONDS = 2.0
PATIENCE_SECONDS = DRAIN_SECONDS + 10.0
GOOD_ANSWERS = {200, 503}


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


def odd_answers(book: OrderBook) -> list[str]:
    return [
        f"{count} answers of status {status}" for status, count in book.statuses.items() if status not in GOOD_ANSWERS
    ]


def run(folder: Path, rounds: int, minutes: float, seed: int) -> dict[str, Any]:
    book, chance = OrderBook(), random.Random(seed)
    breaches: list[str] = []
    started, done, longest = time.monotonic(), 0, 0.0
    while done < rounds and time.monotonic() - started < minutes * 60 and not breaches:
        broken, seconds = stop_under_load(folder, book, f"life-{done}", chance)
        breaches += broken
        done, longest = done + 1, max(longest, seconds)
    with serve(folder) as service:
        breaches += recovered(service, book)
        ended = Counter(statuses(service).values())
    return {
        "seed": seed,
        "stops": done,
        "longest stop, seconds": round(longest, 1),
        "acknowledged": len(book.acknowledged),
        "answers": {str(status): count for status, count in sorted(book.statuses.items())},
        "ended": dict(ended),
        "breaches": breaches,
        "broken": len(breaches),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    before = circumstances()
    with tempfile.TemporaryDirectory() as folder:
        numbers = run(Path(folder), options.rounds, options.minutes, options.seed)
    keep("stops", "SIGTERM to a service that takes orders", before, numbers)
    if numbers["breaches"]:
        raise SystemExit("\n".join(numbers["breaches"]))


if __name__ == "__main__":
    main()
