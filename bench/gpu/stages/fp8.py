"""Eight-bit matrices against our own bf16, interleaved."""

from bench.gpu.record import Numbers
from bench.gpu.stages import pictures
from bench.gpu.timing import interleaved
from bench.gpu.workbench import Workbench
from bildwerk.engine.precision import Precision


def run(bench: Workbench) -> Numbers:
    order, fp8, bf16 = bench.order(bench.bucket()), bench.fast(Precision.FP8), bench.fast()
    contenders = {"fp8": lambda: fp8.paint(order), "bf16": lambda: bf16.paint(order)}
    timings = interleaved(contenders, bench.rounds, bench.device)
    return pictures.measured(bench, fp8, bench.bucket()) | {
        "interleaved": {name: timing.numbers() for name, timing in timings.items()},
        "bf16 over fp8": timings["bf16"].median / timings["fp8"].median,
        "profile": pictures.profile(bench, fp8, "fp8"),
    }
