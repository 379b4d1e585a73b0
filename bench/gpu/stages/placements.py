"""Smaller cards, imitated by a limit on the memory that may be taken: what plan is chosen, its peak and its time."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from bench.gpu.networks import Networks, Shapes
from bench.gpu.painter import Painter
from bench.gpu.record import Number, Numbers
from bench.gpu.timing import interleaved, seconds_of
from bench.gpu.workbench import Workbench
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.gpu.footprint import GIB, footprint
from bildwerk.engine.gpu.placement import ANY
from bildwerk.engine.gpu.plan import Placement, plans
from bildwerk.engine.networks import ModelShapes
from bildwerk.engine.placed_source import PlacedSource
from bildwerk.engine.precision import Precision

CARDS = (80, 24, 16, 12, 8)
"""Gigabytes, of which a tenth is left to others."""
ROUNDS = 3


def run(bench: Workbench) -> Numbers:
    """Where there is no CUDA every placement is carried out on the host instead."""
    in_host = _in_host_memory(bench)
    if bench.device.type != "cuda":
        asked = dict.fromkeys((plan.placement, plan.precision) for plan in plans(ANY))
        return {
            f"{placement} in {precision}": _placed(bench, in_host, placement, precision)
            for placement, precision in asked
        }
    bench.release()
    try:
        return {f"{card} GB": _on_card(bench, in_host, int(0.9 * card * 10**9)) for card in CARDS}
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def _in_host_memory(bench: Workbench) -> Networks:
    made = bench.original
    for network in (made.transformer, made.t5, made.clip, made.autoencoder):
        network.to("cpu")
    return made


def model_shapes(shapes: Shapes) -> ModelShapes:
    return ModelShapes(shapes.transformer, shapes.t5, shapes.clip, shapes.autoencoder)


def _placed(bench: Workbench, in_host: Networks, placement: Placement, precision: Precision) -> Number:
    """The text encoder as the engine chooses."""
    return _painted(bench, lambda: bench.engine(precision, networks=in_host, placement=placement))


def _on_card(bench: Workbench, in_host: Networks, limit: int) -> Number:
    """As the engine chooses for so many free bytes."""
    gc.collect()  # what is streamed is held by its own hooks
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(bench.device).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / total)
    card = replace(bench.accelerator, free_bytes=lambda: limit)
    return _painted(bench, lambda: bench.engine(networks=in_host, accelerator=card, placement=None))


@dataclass(slots=True)
class _Peak:
    """The most memory that was taken since."""

    device: torch.device

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def gib(self) -> float | None:
        return torch.cuda.max_memory_reserved(self.device) / GIB if self.device.type == "cuda" else None


def _painted(bench: Workbench, load: Callable[[], FluxEngine]) -> Numbers:
    """Without compiling, which does not change what has to lie where."""
    peak, made = _Peak(bench.device), list[FluxEngine]()
    placing = seconds_of(lambda: made.append(load()), bench.device)
    [engine] = made
    painter, order = Painter(engine), bench.order(bench.bucket())
    timing = interleaved({"": lambda: painter.paint(order)}, ROUNDS, bench.device, warm_ups=1)[""]
    assert isinstance(engine.source, PlacedSource)
    planned = footprint(engine.source.plan, model_shapes(bench.shapes), bench.bucket())
    return {
        "plan": str(engine.source.plan),
        "planned GiB": planned.total / GIB,
        "peak GiB": peak.gib(),
        "seconds to place": placing,
        "picture": timing.numbers(),
        "parts": {name: seconds for name, seconds in painter.laps(order, 1).items() if name},
    }
