"""How many cores this process may keep busy: those that it may run on, and no more than its share of their time.

No torch: whoever only wants to tell the number need not wait for it.
"""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def usable_cores(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """cgroups: where the kernel shows its control groups; own: the file that says which of them this process is in."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min((found for found in map(_quota, _folders(cgroups, own)) if found is not None), default=math.inf)
    return max(1, math.floor(min(allowed, quota)))


def _folders(cgroups: Path, own: Path) -> list[Path]:
    """Of the process's control group and of all that this one is in: each may have a limit. In a container the file
    often names a path of the host, which is not there; the container's own group is the root then."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    names = [name for name in path.split("/") if name not in {"", "..", "."}]
    return [cgroups.joinpath(*names[:depth]) for depth in range(len(names) + 1)]


def _quota(group: Path) -> float | None:
    """The cores' worth of time that it is given, by either version of the kernel's interface; None without a limit."""
    try:
        if (group / "cpu.max").exists():
            given, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            given = (group / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (group / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii")
        cores = float(given) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None
