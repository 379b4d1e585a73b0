"""Our networks with all speed that costs no accuracy; and what is left to gain, as a table of kernels."""

from bench.gpu.record import Numbers
from bench.gpu.stages import pictures
from bench.gpu.timing import seconds_of
from bench.gpu.workbench import Workbench


def run(bench: Workbench) -> Numbers:
    first = seconds_of(bench.fast, bench.device)
    painter = bench.fast()
    found = pictures.measured(bench, painter, bench.bucket())
    return found | {
        "warm-up": first,
        "attention": pictures.attention_chosen(bench),
        "profile": pictures.profile(bench, painter, "bf16"),
    }
