"""What a server says of itself."""

from collections.abc import Sequence
from typing import Any

Worker = tuple[str, str]
"""Its name and its state."""


def live_envelope() -> dict[str, Any]:
    return {"status": "ok"}


def ready_envelope(database_ok: bool, workers: Sequence[Worker], reasons: Sequence[str]) -> dict[str, Any]:
    """Ready when the database answers and some worker can work; `reasons` say why others cannot."""
    is_ready = database_ok and any(state == "ready" for _, state in workers)
    return {
        "status": "ready" if is_ready else "not ready",
        "database": "ok" if database_ok else "unavailable",
        "workers": dict(workers),
        "reasons": list(reasons),
    }


def version_envelope(version: str) -> dict[str, Any]:
    return {"name": "bildwerk", "version": version}
