"""Requests of changing size, after all sizes were warmed: nothing may compile, and none may take longer than alone."""

import random
from statistics import median, quantiles

from bench.gpu.record import Numbers
from bench.gpu.timing import seconds_of
from bench.gpu.workbench import Workbench
from bildwerk.engine.buckets import Bucket

SIZES = ((1.0, 1.0), (0.5, 0.5), (0.75, 1.0), (1.0, 0.75))
"""Parts of the usual side: height, width."""
PICTURES = 60
TINY_SIZES, TINY_PICTURES = SIZES[:2], 8


def run(bench: Workbench) -> Numbers:
    side = bench.shapes.side
    buckets = [
        Bucket(1, int(side * height), int(side * width)) for height, width in (TINY_SIZES if bench.tiny else SIZES)
    ]
    warm = seconds_of(lambda: [bench.fast(bucket=bucket) for bucket in buckets], bench.device)
    engine = bench.fast().engine
    plain_before = engine.warmth.plain_runs
    count = TINY_PICTURES if bench.tiny else PICTURES
    asked = random.Random(0).choices(buckets, k=count)
    taken = [(bucket, _seconds(bench, bucket)) for bucket in asked]
    found: Numbers = {
        "warm-up": warm,
        "warmed": [str(bucket) for bucket in buckets],
        "pictures": count,
        "compiled": engine.warmth.compiled,
        "calls in other shapes": engine.warmth.plain_runs - plain_before,
    }
    return found | _spread(taken)


def _seconds(bench: Workbench, bucket: Bucket) -> float:
    order = bench.order(bucket)
    return seconds_of(lambda: bench.fast().paint(order), bench.device)


def _spread(taken: list[tuple[Bucket, float]]) -> Numbers:
    """Of all pictures, each over the median of its own size."""
    medians = {bucket: median(s for b, s in taken if b == bucket) for bucket, _ in taken}
    relative = [seconds / medians[bucket] for bucket, seconds in taken]
    return {
        "p99 over p50": quantiles(relative, n=100, method="inclusive")[98],
        "medians": {str(bucket): seconds for bucket, seconds in medians.items()},
    }
