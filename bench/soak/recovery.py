"""Is everything that a service acknowledged there after its next start, ended once, with whole pictures?"""

import sqlite3
from contextlib import closing
from pathlib import Path

from PIL import Image

from bench.soak.orders import OrderBook
from tests.faults.damage import check, eventually
from tests.live_service import LiveService

LIFTED = {
    "BILDWERK_LIMIT_SUBMITS_PER_MINUTE": "100000000",
    "BILDWERK_LIMIT_QUEUED_PER_ACCOUNT": "1000000",
    "BILDWERK_LIMIT_FREE_DISK_BYTES": "10000000",
}
"""Limits of a service that shall refuse nothing by itself."""
OPEN = ("queued", "running")
GOOD_ANSWERS = {200, 503}


def recovered(service: LiveService, book: OrderBook) -> list[str]:
    """Wait until nothing is left to do, then say what is not as it should be."""
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


def odd_answers(book: OrderBook) -> list[str]:
    return [
        f"{count} answers of status {status}" for status, count in book.statuses.items() if status not in GOOD_ANSWERS
    ]
