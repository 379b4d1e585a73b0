"""What a run has found out: one JSON file, rewritten after every stage, so that a killed run loses only its last."""

import json
import os
import platform
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

import torch

Number: TypeAlias = "float | int | str | bool | list[Number] | dict[str, Number] | None"
Numbers: TypeAlias = dict[str, Number]

FILE_NAME = "gpu.json"
PACKAGES = ("torch", "triton", "diffusers", "transformers", "numpy")


BEGUN = "begun"
"""The status of a stage whose process ended in the middle of it."""


class NotHereError(Exception):
    """A stage cannot be measured on this machine, and why."""


@dataclass(slots=True)
class Record:
    """All stages' results, by name. Each is `done`, `skipped` (with a reason) or `failed` (with an error)."""

    path: Path
    stages: dict[str, Numbers] = field(default_factory=dict)
    _running: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, folder: Path, previous: Path | None = None) -> "Record":
        """What earlier runs left in the folder, and before that in the file `previous`."""
        record = cls(folder / FILE_NAME)
        for path in (previous, record.path):
            if path is not None and path.exists():
                record.stages.update(json.loads(path.read_text())["stages"])
        return record

    def is_done(self, stage: str) -> bool:
        return self.stages.get(stage, {}).get("status") == "done"

    def numbers(self, stage: str) -> Numbers:
        """Empty where the stage was not measured."""
        found = self.stages.get(stage, {}).get("numbers", {})
        return found if isinstance(found, dict) else {}

    def begin(self, stage: str) -> None:
        """A later word on it replaces this one. What an earlier run has found out is kept until then."""
        with self._lock:
            self._running = stage
            if not self.is_done(stage):
                self._write(stage, {"status": BEGUN})

    def write(self, stage: str, entry: Numbers) -> None:
        with self._lock:
            self._running = None
            self._write(stage, entry)

    def give_up(self, reason: str) -> None:
        """Nothing can be written from now on."""
        self._lock.acquire()
        if self._running is not None and not self.is_done(self._running):
            self._write(self._running, {"status": "failed", "reason": reason})

    def _write(self, stage: str, entry: Numbers) -> None:
        self.stages[stage] = entry
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".part")
        scratch.write_text(json.dumps({"stages": self.stages}, indent=1))
        scratch.replace(self.path)


def surroundings(device: torch.device, scale: str) -> Numbers:
    """Where and with what a stage was measured."""
    return {"hardware": _hardware(device), "versions": _versions(), "commit": _commit(), "scale": scale}


def _hardware(device: torch.device) -> Number:
    if device.type != "cuda":
        return f"{platform.machine()}, {torch.get_num_threads()} threads"
    found = torch.cuda.get_device_properties(device)
    return f"{found.name}, {found.total_memory / 2**30:.0f} GiB, {found.multi_processor_count} multiprocessors"


def _versions() -> Number:
    found: Numbers = {name: _version(name) for name in PACKAGES}
    return found | {"python": platform.python_version(), "cuda": torch.version.cuda, "cudnn": _cudnn()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cudnn() -> int | None:
    return torch.backends.cudnn.version() if torch.cuda.is_available() else None


def _commit() -> str:
    """What `BILDWERK_COMMIT` says, for code that lies without its repository; else the repository's own."""
    git = shutil.which("git")
    command = [git, "rev-parse", "--short", "HEAD"] if git else ["true"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return os.environ.get("BILDWERK_COMMIT") or asked.stdout.strip() or "unknown"
