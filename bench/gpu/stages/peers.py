"""Against diffusers, eager and compiled, on the same weights, prompts and seeds, every contender once a round."""

from collections.abc import Callable

import torch
from torch import Tensor

from bench.gpu.painter import Order
from bench.gpu.peer import Peer, peer
from bench.gpu.record import Numbers
from bench.gpu.timing import Timing, interleaved, seconds_of
from bench.gpu.workbench import Workbench

OURS, OURS_EAGER = "ours, fast", "ours, eager"
THEIRS, THEIRS_COMPILED = "diffusers, eager", "diffusers, compiled"


def run(bench: Workbench) -> Numbers:
    order = bench.order(bench.bucket())
    plain, compiled = (peer(bench.original, bench.shapes, bench.device) for _ in range(2))
    compiled.compile(bench.mode, bench.compiler.backend)
    contenders: dict[str, Callable[[], Tensor]] = {
        OURS: lambda: bench.fast().paint(order),
        OURS_EAGER: lambda: bench.eager.paint(order),
        THEIRS: lambda: plain.paint(order),
        THEIRS_COMPILED: lambda: compiled.paint(order),
    }
    first = {name: seconds_of(paint, bench.device) for name, paint in contenders.items()}
    timings = interleaved(contenders, bench.rounds, bench.device)
    return {
        "first picture, with compiling": dict(first),
        "pictures": {name: timing.numbers() for name, timing in timings.items()},
        "diffusers": plain.facts(),
        "eager over ours": _ratio(timings, THEIRS),
        "compiled over ours": _ratio(timings, THEIRS_COMPILED),
        "same picture": _same_picture(bench, plain, order),
    }


def _ratio(timings: dict[str, Timing], theirs: str) -> float:
    return timings[theirs].median / timings[OURS].median


def _same_picture(bench: Workbench, plain: Peer, order: Order) -> Numbers:
    """How far our two pictures are from theirs, in levels of 255."""
    theirs = plain.paint(order).float() * 255
    return {
        "ours, eager": _mean_distance(bench.eager.paint(order), theirs),
        "ours, fast": _mean_distance(bench.fast().paint(order), theirs),
        "another seed": _mean_distance(bench.eager.paint(bench.order(bench.bucket(), seed=99)), theirs),
    }


def _mean_distance(ours: Tensor, theirs: Tensor) -> float:
    return torch.mean((ours.float() - theirs).abs()).item()
