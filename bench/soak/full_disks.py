"""The lane of full disks: the disk under a service that takes orders fills up to its last byte, and is emptied again.

Database, pictures and log lie on it. Meanwhile orders are taken or answered with 503, nothing is held for those that
were not taken, and the service lives; afterwards all that was acknowledged is made, and every file is whole.

    python -m bench.soak.full_disks [--rounds 10] [--minutes 10] [--seed N]
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.circumstances import circumstances
from bench.soak.disk import NoDisk, command
from bench.soak.orders import Crowd, OrderBook
from bench.soak.power_cuts import LIFTED, recovered, statuses
from bench.soak.record import keep
from bench.soak.stops import odd_answers
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


def run(folder: Path, rounds: int, minutes: float, seed: int) -> dict[str, Any]:
    """Raises `NoDisk` where no disk of a fixed size can be mounted."""
    command("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder))
    book, chance = OrderBook(), random.Random(seed)
    breaches: list[str] = []
    started, done = time.monotonic(), 0
    try:
        options = ("--fake-step-seconds", "0.01")
        with live_service(folder / "data", *options, environment={**QUICK, **LIFTED, **UNGUARDED}) as service:
            while done < rounds and time.monotonic() - started < minutes * 60 and not breaches:
                breaches += fill_under_load(service, folder, book, f"round-{done}", chance)
                done += 1
            ended = Counter(statuses(service).values())
    finally:
        command("umount", "-l", str(folder))
    return {
        "seed": seed,
        "times full": done,
        "acknowledged": len(book.acknowledged),
        "answers": {str(status): count for status, count in sorted(book.statuses.items())},
        "ended": dict(ended),
        "breaches": breaches,
        "broken": len(breaches),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    before = circumstances()
    with tempfile.TemporaryDirectory() as folder:
        try:
            numbers = run(Path(folder), options.rounds, options.minutes, options.seed)
        except NoDisk as reason:
            print(f"skipped: no disk of a fixed size here: {reason}")
            return
    keep("full_disks", "a full disk under a service that takes orders", before, numbers)
    if numbers["breaches"]:
        raise SystemExit("\n".join(numbers["breaches"]))


if __name__ == "__main__":
    main()
