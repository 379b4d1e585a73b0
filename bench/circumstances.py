"""What a measurement means nothing without: the machine, the versions, the commit, and how busy the machine was."""

import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bildwerk.cli.machine import package_version, read_machine

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "tokenizers", "numpy", "pillow")


def circumstances() -> dict[str, Any]:
    """For the head of a result file."""
    return {
        "machine": asdict(read_machine()),
        "versions": {name: package_version(name) for name in PACKAGES},
        "commit": commit(),
        "load_average_before": os.getloadavg(),
        "environment": {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ},
    }


def commit() -> str:
    """The commit that was measured; with a plus where the working tree differs from it, results apart."""
    head = _git("rev-parse", "--short=12", "HEAD")
    return f"{head}+" if _git("status", "--porcelain", "bildwerk", "bench", ":!bench/results") else head


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
