"""How many threads fit: torch takes one for each core of the machine, also where a container may use but two."""

import math
import os
from pathlib import Path

import torch

CGROUP = Path("/sys/fs/cgroup")
VARIABLE = "OMP_NUM_THREADS"


def use_fitting_threads() -> None:
    """For the whole process; whoever sets OMP_NUM_THREADS has decided already."""
    if VARIABLE not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Those that this process may run on, and no more than its share of processor time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return allowed if quota is None else max(1, min(allowed, math.floor(quota)))


def _quota(cgroup: Path) -> float | None:
    """The cores' worth of time that a container is given, by either version of the kernel's interface."""
    try:
        if (cgroup / "cpu.max").exists():
            given, period = (cgroup / "cpu.max").read_text().split()
        else:
            given = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        cores = float(given) / float(period)
    except (OSError, ValueError):
        return None
    return cores if cores > 0 else None
