"""The lane of power cuts: the disk under a service that takes orders stops at once, and all that was not on it is gone.

What was acknowledged must be there after the next start, end once, and have whole pictures: every cut is followed by a
start, by the repetition of every order that was not answered with 200, and by `bildwerk check` over books and files.

    python -m bench.soak.power_cuts [--cuts 50] [--minutes 20] [--seed N] [--folder FOLDER]
"""

import argparse
import random
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image

from bench.circumstances import circumstances
from bench.soak.disk import Disk, NoDisk, require_power_cuts
from bench.soak.orders import Crowd, OrderBook
from bench.soak.record import keep
from tests.faults.damage import QUICK, check, eventually, kill
from tests.live_service import LiveService, live_service

LIFTED = {
    "BILDWERK_LIMIT_SUBMITS_PER_MINUTE": "100000000",
    "BILDWERK_LIMIT_QUEUED_PER_ACCOUNT": "1000000",
    "BILDWERK_LIMIT_FREE_DISK_BYTES": "10000000",
}
STEP_SECONDS = "0.01"
OPEN = ("queued", "running")


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


def recovered(service: LiveService, book: OrderBook) -> list[str]:
    """Wait until nothing is left to do, then ask whether all is as it should be."""
    lost = sorted(set(book.acknowledged.values()) - set(statuses(service)))
    for key in sorted(book.sent - set(book.acknowledged)):
        book.order(service, key)
    eventually(lambda: not any(status in OPEN for status in statuses(service).values()))
    ended = statuses(service)
    return [
        *(f"{prediction} was acknowledged and is not there" for prediction in lost),
        *(f"{one} ended {ended.get(one)}" for one in book.acknowledged.values() if ended.get(one) != "succeeded"),
        *(f"{breach['id']} {breach['sentence']}: {breach['examples']}" for breach in check(service)),
        *damaged_pages(service),
        *torn_pictures(service.data_dir / "files"),
        *book.breaches,
    ]


def statuses(service: LiveService) -> dict[str, str]:
    with closing(sqlite3.connect(service.data_dir / "bildwerk.db", timeout=30)) as database:
        return dict(database.execute("SELECT id, status FROM predictions").fetchall())


def damaged_pages(service: LiveService) -> list[str]:
    with closing(sqlite3.connect(service.data_dir / "bildwerk.db", timeout=30)) as database:
        return [row[0] for row in database.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]


def torn_pictures(folder: Path) -> list[str]:
    """Files with a final name that are no whole picture, whether or not the database knows them."""
    return [f"{path} is torn" for path in folder.rglob("*.png") if not path.name.startswith(".") and is_torn(path)]


def is_torn(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            picture.load()
    except OSError:
        return True
    return False


def run(folder: Path, cuts: int, minutes: float, seed: int) -> dict[str, Any]:
    """Raises `NoDisk` where there can be no power cuts."""
    require_power_cuts(folder)
    disk, book, chance = Disk.make(folder), OrderBook(), random.Random(seed)
    breaches: list[str] = []
    started, done = time.monotonic(), 0
    try:
        while done < cuts and time.monotonic() - started < minutes * 60 and not breaches:
            acknowledged = len(book.acknowledged)
            breaches += cut_under_load(disk, book, f"life-{done}", chance)
            done += 1
            print(f"cut {done}: {len(book.acknowledged) - acknowledged} acknowledged, broken: {breaches}", flush=True)
        with serve(disk) as service:
            breaches += recovered(service, book)
            ended = Counter(statuses(service).values())
    finally:
        disk.unmount()
    return {
        "seed": seed,
        "power cuts": done,
        "acknowledged": len(book.acknowledged),
        "refused": book.refused,
        "ended": dict(ended),
        "breaches": breaches,
        "broken": len(breaches),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--folder", type=Path, help="where the disk's image is made")
    options = parser.parse_args()
    before = circumstances()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        try:
            numbers = run(Path(folder), options.cuts, options.minutes, options.seed)
        except NoDisk as reason:
            print(f"skipped: no power cuts here: {reason}")
            return
    keep("power_cuts", "power cuts of an ext4 disk under a service that takes orders", before, numbers)
    if numbers["breaches"]:
        raise SystemExit("\n".join(numbers["breaches"]))


if __name__ == "__main__":
    main()
