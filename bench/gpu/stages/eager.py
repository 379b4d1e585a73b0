"""Our networks as they are written: no compiler, no graphs, torch's own choice of attention."""

from bench.gpu.record import Numbers
from bench.gpu.stages import pictures
from bench.gpu.workbench import Workbench


def run(bench: Workbench) -> Numbers:
    return pictures.measured(bench, bench.eager, bench.bucket())
