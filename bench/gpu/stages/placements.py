"""Smaller cards, imitated by a limit on the memory that may be taken."""

from bench.gpu.record import Numbers
from bench.gpu.workbench import Workbench


def run(bench: Workbench) -> Numbers:
    bench.needs_cuda("a limit on the memory of a device")
    return {}
