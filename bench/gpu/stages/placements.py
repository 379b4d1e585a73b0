"""Smaller cards, imitated by a limit on the memory that may be taken: what plan is chosen, its peak and its time."""

import gc
from dataclasses import dataclass

import torch

from bench.gpu.networks import Networks, Shapes, twin
from bench.gpu.record import Number, Numbers
from bench.gpu.timing import interleaved, seconds_of
from bench.gpu.workbench import Workbench
from bildwerk.engine import attention_backend, decoder_attention, placement, single_buffer
from bildwerk.engine.placement import GIB, ModelShapes, Plan
from bildwerk.engine.streaming import place

CARDS = (80, 24, 16, 12, 8)
"""Gigabytes, of which a tenth is left to others."""
ROUNDS = 3


def run(bench: Workbench) -> Numbers:
    """Where there is no CUDA every plan is carried out on the host instead."""
    in_host = _in_host_memory(bench)
    if bench.device.type != "cuda":
        return {str(plan): _painted(bench, in_host, plan) for plan in placement.PLANS}
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


def _on_card(bench: Workbench, in_host: Networks, limit: int) -> Number:
    gc.collect()  # what is streamed is held by its own hooks
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(bench.device).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / total)
    plans = placement.fitting(limit, model_shapes(bench.shapes), height=bench.shapes.side, width=bench.shapes.side)
    return placement.start_with_fallback(plans, lambda plan: _painted(bench, in_host, plan))


@dataclass(slots=True)
class _Peak:
    """The most memory that was taken since."""

    device: torch.device

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def gib(self) -> float | None:
        return torch.cuda.max_memory_reserved(self.device) / GIB if self.device.type == "cuda" else None


def _painted(bench: Workbench, in_host: Networks, plan: Plan) -> Numbers:
    """Without compiling, which does not change what has to lie where."""
    peak, networks = _Peak(bench.device), twin(in_host)
    placing = seconds_of(lambda: place(networks, plan, bench.device), bench.device)
    single_buffer.use(networks.transformer)
    attention_backend.use(bench.joint_attention().candidate.attend, networks.transformer)
    decoder_attention.use(bench.decoder_attention().candidate.attend, networks.autoencoder)
    painter, order = bench.painter(networks), bench.order(bench.bucket())
    timing = interleaved({"": lambda: painter.paint(order)}, ROUNDS, bench.device, warm_ups=1)[""]
    planned = placement.footprint(plan, model_shapes(bench.shapes), height=order.height, width=order.width)
    return {
        "plan": str(plan),
        "planned GiB": planned.total / GIB,
        "peak GiB": peak.gib(),
        "seconds to place": placing,
        "picture": timing.numbers(),
        "parts": {name: seconds for name, seconds in painter.laps(order, 1).items() if name},
    }
