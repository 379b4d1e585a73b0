"""Doing harm to a running service, and asking whether its books survived it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import requests

from tests.live_service import REPOSITORY, LiveService

T = TypeVar("T")
PATIENCE_SECONDS = 120.0

QUICK = {
    "BILDWERK_SECONDS_LEASE": "3",
    "BILDWERK_SECONDS_HEARTBEAT": "0.5",
    "BILDWERK_SECONDS_POLL": "0.1",
    "BILDWERK_SECONDS_STEP": "4",
}
"""A service that notices harm in seconds."""


def eventually(read: Callable[[], T | None]) -> T:
    """The first true value that `read` gives."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := read()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return value


def submit(service: LiveService, **values: Any) -> str:
    body = {"model": "bildwerk/flux-tiny", "prompt": "a lake", "size": "64*64", **values}
    url = f"{service.url}/api/v1/model/generateImage"
    answer = requests.post(url, json=body, headers=service.headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def read(service: LiveService, prediction_id: str) -> dict[str, Any]:
    url = f"{service.url}/api/v1/model/prediction/{prediction_id}"
    data: dict[str, Any] = requests.get(url, headers=service.headers, timeout=60).json()["data"]
    return data


def ended(service: LiveService, prediction_id: str) -> dict[str, Any]:
    def poll() -> dict[str, Any] | None:
        data = read(service, prediction_id)
        return data if data["status"] in ("completed", "failed") else None

    return eventually(poll)


def worker_pid(service: LiveService) -> int:
    """The process id of the child that computes, once there is one."""

    def find() -> int | None:
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        return next((int(pid) for pid in children.read_text().split() if is_worker(int(pid))), None)

    return eventually(find)


def is_worker(pid: int) -> bool:
    try:
        return b"bildwerk.engine.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def is_running(service: LiveService, prediction_id: str) -> bool:
    """Whether a worker has it: known from the database, since clients only see `processing`."""
    return status(service, prediction_id)[0] == "running"


def only_status(service: LiveService) -> str | None:
    """The status of the service's one prediction, if there is one yet."""
    with closing(sqlite3.connect(service.data_dir / "bildwerk.db", timeout=30)) as database:
        row = database.execute("SELECT status FROM predictions").fetchone()
        return row and str(row[0])


def status(service: LiveService, prediction_id: str) -> tuple[str, int]:
    """The status and the number of attempts, as the database has them."""
    with closing(sqlite3.connect(service.data_dir / "bildwerk.db", timeout=30)) as database:
        query = "SELECT status, attempts FROM predictions WHERE id = ?"
        row: tuple[str, int] = database.execute(query, (prediction_id,)).fetchone()
        return row


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid, number)


def check(service: LiveService) -> list[dict[str, Any]]:
    """The broken invariants that `bildwerk check` finds when nothing is left to do."""
    command = [sys.executable, "-m", "bildwerk", "check", "--quiescent", "--json", "--data-dir", str(service.data_dir)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["ok"] else 1), done.stderr
    breaches: list[dict[str, Any]] = answer["breaches"]
    return breaches
