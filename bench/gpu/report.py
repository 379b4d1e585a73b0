"""The goals of the GPU, each computed from what the stages found, as a table."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.gpu.record import Number, Record


class NotMeasuredError(Exception):
    """A number that no stage has left."""


@dataclass(frozen=True, slots=True)
class Goal:
    """`at_most`: smaller is better."""

    number: str
    what: str
    bound: float
    at_most: bool
    measure: Callable[[Record], float]

    def met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


def number(record: Record, stage: str, *path: str) -> float:
    """One number of a stage. Raises `NotMeasuredError` where it is not there."""
    found: Number = record.numbers(stage)
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, float | int):
        raise NotMeasuredError(f"{stage}: {' / '.join(path)}")
    return float(found)


def best_product(record: Record, precision: str = "bf16") -> float:
    """Operations a second of the fastest matrix product of the run."""
    products = record.numbers("ceilings").get("products")
    entries = products.values() if isinstance(products, dict) else []
    rates = [entry.get(precision) for entry in entries if isinstance(entry, dict)]
    measured = [rate for rate in rates if isinstance(rate, float)]
    if not measured:
        raise NotMeasuredError("ceilings: products")
    return max(measured)


def _step_over_floor(record: Record) -> float:
    return best_product(record) / number(record, "bf16", "rate in a step")


def _picture_over_floor(record: Record) -> float:
    floor = number(record, "bf16", "operations", "picture") / best_product(record)
    return number(record, "bf16", "picture", "median") / floor


def _batch_gain(record: Record) -> float:
    return number(record, "batches", "8", "pictures a second") / number(record, "batches", "1", "pictures a second")


def _of(stage: str, *path: str) -> Callable[[Record], float]:
    return lambda record: number(record, stage, *path)


GOALS = (
    Goal("G1", "diffusers eager over ours, 1024x1024", 1.7, False, _of("peers", "eager over ours")),
    Goal("G2", "diffusers compiled over ours, 1024x1024", 1.15, False, _of("peers", "compiled over ours")),
    Goal("G3", "step over the floor of its matrix products", 1.20, True, _step_over_floor),
    Goal("G4", "picture over its floor", 1.22, True, _picture_over_floor),
    Goal("G5", "share outside the denoising loop", 0.06, True, _of("bf16", "share outside the loop")),
    Goal("G6", "own bf16 over fp8", 1.35, False, _of("fp8", "bf16 over fp8")),
    Goal("G6", "fp8 velocity error", 0.07, True, _of("parity", "relative errors", "fp8")),
    Goal("G7", "pictures a second, batch 8 over batch 1, 512x512", 1.15, False, _batch_gain),
    Goal("G10", "compilations among warmed sizes", 0, True, _of("resolutions", "compiled")),
    Goal("G10", "calls in shapes that were not warmed", 0, True, _of("resolutions", "calls in other shapes")),
    Goal("G10", "p99 over p50 among warmed sizes", 1.1, True, _of("resolutions", "p99 over p50")),
    Goal("parity", "bf16 velocity error", 0.02, True, _of("parity", "relative errors", "fast")),
    Goal(
        "parity",
        "error of blocks that do nothing",
        0.5,
        False,
        _of("parity", "relative errors", "blocks that do nothing"),
    ),
)


def markdown(record: Record) -> str:
    return "\n".join([*_caution(record), *_goals(record), "", *_stages(record)])


def _caution(record: Record) -> Iterable[str]:
    if any(entry.get("scale") != "real" for entry in record.stages.values()):
        yield "Some of this was measured on networks of toy size: it shows that the suite runs, and nothing else.\n"


def _goals(record: Record) -> Iterable[str]:
    yield "| goal | what | bound | measured | |"
    yield "|---|---|---|---|---|"
    yield from (_row(goal, record) for goal in GOALS)


def _row(goal: Goal, record: Record) -> str:
    bound = f"{'<=' if goal.at_most else '>='} {goal.bound:g}"
    try:
        value = goal.measure(record)
    except NotMeasuredError as missing:
        return f"| {goal.number} | {goal.what} | {bound} | not measured ({missing}) | |"
    return f"| {goal.number} | {goal.what} | {bound} | {value:.4g} | {'met' if goal.met(value) else 'MISSED'} |"


def _stages(record: Record) -> Iterable[str]:
    yield "| stage | state | seconds | where | with |"
    yield "|---|---|---|---|---|"
    for name, entry in record.stages.items():
        versions = entry.get("versions")
        torch = versions.get("torch") if isinstance(versions, dict) else "?"
        why = entry.get("reason", "")
        state = f"{entry['status']} {why}".strip()
        place = f"{entry.get('hardware')}, {entry.get('scale')}"
        yield f"| {name} | {state} | {entry.get('seconds')} | {place} | torch {torch}, {entry.get('commit')} |"
