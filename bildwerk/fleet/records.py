"""Where the outcome of computing is recorded."""

from dataclasses import dataclass

from bildwerk.jobs.progress import ProgressHub
from bildwerk.store.clock import Now
from bildwerk.store.database import Database
from bildwerk.store.files import Files


@dataclass(frozen=True, slots=True)
class Records:
    """The durable ones, the live one, and the clock that they are dated by."""

    database: Database
    files: Files
    hub: ProgressHub
    now: Now
