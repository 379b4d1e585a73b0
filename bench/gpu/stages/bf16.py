"""Our networks with all speed that costs no accuracy; and what is left to gain, as a table of kernels."""

from bench.gpu.record import Numbers
from bench.gpu.stages import pictures
from bench.gpu.timing import seconds_of
from bench.gpu.workbench import Workbench


def run(bench: Workbench) -> Numbers:
    order, painter = bench.order(bench.bucket()), bench.fast()
    first = seconds_of(lambda: painter.paint(order), bench.device)
    found = pictures.measured(bench, painter, bench.bucket())
    return found | {
        "first picture, with compiling": first,
        "attention": pictures.attention_chosen(bench),
        "profile": pictures.profile(bench, painter, "bf16"),
    }
