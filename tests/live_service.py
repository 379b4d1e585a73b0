"""A real `bildwerk serve` in a process of its own, on a free port and an empty data folder, painting without torch."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
START_SECONDS = 60
STOP_SECONDS = 30
READY = "listening on "


@dataclass(frozen=True)
class LiveService:
    """Where the server is and a key that may do everything."""

    url: str
    key: str
    data_dir: Path
    process: "subprocess.Popen[str]"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def log(self) -> str:
        return (self.data_dir / "log").read_text()


@contextmanager
def live_service(data_dir: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[LiveService]:
    """Start a server, wait until it says that it listens, and stop it in the end."""
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "bildwerk", "serve", "--port", "0", "--data-dir", str(data_dir)]
    with (data_dir / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--demo", "--engine", "fake", *options],
            cwd=REPOSITORY,
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            url = ready_url(process)
            yield LiveService(url, first_key(data_dir), data_dir, process)
        finally:
            stop(process)


def ready_url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    patience = threading.Timer(START_SECONDS, process.kill)
    patience.start()
    try:
        for line in process.stdout:
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
    finally:
        patience.cancel()
    raise AssertionError(f"the server ended with {process.wait()} before it listened")


def first_key(data_dir: Path) -> str:
    return (data_dir / "initial-credentials").read_text().partition("=")[2].strip()


def stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
