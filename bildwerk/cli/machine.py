"""What this machine is made of, as far as making pictures goes. Read from /proc and the package metadata: no torch."""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bildwerk.engine.cpu.cores import usable_cores

CPU_FEATURES = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "bf16": ("avx512_bf16", "bf16"),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "AMX": ("amx_tile",),
    "i8mm": ("i8mm",),
}
"""What we call it, and the flags of /proc/cpuinfo, x86-64 and aarch64, any of which says it is there."""
ENGINE_PACKAGES = ("torch", "numpy", "safetensors", "tokenizers")
OUTLOOK_MODULE = "bildwerk.engine.outlook"
DEVICES_TIMEOUT_SECONDS = 60
WITHOUT_CURRENT_FOLDER = "-P"
"""Otherwise a file torch.py that lies there would be run."""


@dataclass(frozen=True, slots=True)
class Machine:
    system: str
    python: str
    cpu: str
    cores: int
    cpu_features: tuple[str, ...]
    memory_gib: float | None
    available_gib: float | None


def read_machine(proc: Path = Path("/proc")) -> Machine:
    cpu = _colon_lines(proc / "cpuinfo")
    memory = _colon_lines(proc / "meminfo")
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    return Machine(
        system=platform.platform(),
        python=platform.python_version(),
        cpu=cpu.get("model name") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        cpu_features=tuple(name for name, any_of in CPU_FEATURES.items() if flags.intersection(any_of)),
        memory_gib=_gib(memory.get("MemTotal")),
        available_gib=_gib(memory.get("MemAvailable")),
    )


def _colon_lines(path: Path) -> dict[str, str]:
    """The first value of each name in a file of `name : value` lines; empty where there is no such file."""
    if not path.is_file():
        return {}
    values: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        values.setdefault(name.strip(), value.strip())
    return values


def _gib(kilobytes: str | None) -> float | None:
    return None if kilobytes is None else round(int(kilobytes.split()[0]) / 2**20, 1)


def package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def memory_free(proc: Path = Path("/proc"), group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that a new process may take: what the kernel has available, or what is left of a container's limit."""
    kilobytes = _colon_lines(proc / "meminfo").get("MemAvailable")
    available = None if kilobytes is None else int(kilobytes.split()[0]) * 1024
    limit, used = _number(group / "memory.max"), _number(group / "memory.current")
    left = None if limit is None or used is None else max(0, limit - used)
    return min((count for count in (available, left) if count is not None), default=None)


def _number(path: Path) -> int | None:
    """What a control file holds; None where there is none, or no limit."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def read_devices(models: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """What torch sees, asked in a process of its own: {"torch", "devices": [{"name", "description", ...}], "models"},
    or {"error": sentence} where torch cannot say. models: `engine.outlook.Asked` by id; in the answer, outlooks."""
    try:
        answer = subprocess.run(
            [sys.executable, WITHOUT_CURRENT_FOLDER, "-m", OUTLOOK_MODULE],
            input=json.dumps({"models": models or {}, "host_free_bytes": memory_free()}),
            capture_output=True,
            text=True,
            timeout=DEVICES_TIMEOUT_SECONDS,
            check=True,
        )
        devices: dict[str, Any] = json.loads(answer.stdout)
    except subprocess.CalledProcessError as error:
        return {"error": (error.stderr.strip().splitlines() or ["no answer"])[-1]}
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    return devices
