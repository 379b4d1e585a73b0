"""The goals of the CPU, each computed from the heat that measures it. Ratios are of contenders within one heat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.cpu.contenders import BASE, CEILINGS, GUTTED, OURS_BF16, OURS_INT8, PLAIN_INT8, SDCPP_BF16, SDCPP_Q8
from bench.cpu.record import Record
from bench.cpu.result import is_measured, part, seconds

Numbers = dict[str, Any]
Measure = Callable[[Record], float | None]

ABSENT: Numbers = {"status": "absent"}
PRODUCTS = ("bf16", "bf16, packed")
INT8_PRODUCTS = ("int8",)


@dataclass(frozen=True, slots=True)
class Goal:
    """`at_most`: smaller is better."""

    number: str
    what: str
    bound: float
    at_most: bool
    measure: Measure

    def met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def share(self, value: float) -> float:
        """How much of the goal is reached."""
        return self.bound / value if self.at_most else value / self.bound


def product_ceiling(heat: Numbers, kinds: Sequence[str] = PRODUCTS) -> float | None:
    """Operations a second of the fastest of these kinds of products at the model's shapes, as the heat saw them."""
    ceilings = heat["results"].get(CEILINGS, ABSENT)
    rates = [part(ceilings, kind) for kind in kinds if kind in ceilings["parts"]] if is_measured(ceilings) else []
    return max(rates, default=None)


def _heats(record: Record, name: str) -> list[Numbers]:
    """Of all sides, the largest picture first."""
    found = [heat for key, heat in record.heats.items() if key.split()[0] == name]
    return sorted(found, key=lambda heat: -heat["side"])


def _seconds(heat: Numbers, name: str) -> float | None:
    result = heat["results"].get(name, ABSENT)
    return seconds(result) if is_measured(result) else None


def _ratio(heat: str, theirs: str, ours: str, place: int = 0) -> Measure:
    """How many times as fast ours is. `place`: 0 is the largest picture, 1 the next."""

    def measure(record: Record) -> float | None:
        found = _heats(record, heat)[place : place + 1]
        taken = [spent for one in found for name in (theirs, ours) if (spent := _seconds(one, name))]
        return taken[0] / taken[1] if len(taken) == 2 else None

    return measure


def _of_ceiling(record: Record) -> float | None:
    for heat in _heats(record, "diffusers"):
        spent, ceiling = _seconds(heat, OURS_BF16), product_ceiling(heat)
        return heat["operations"] / spent / ceiling if spent and ceiling else None
    return None


def _error(name: str) -> Measure:
    return lambda record: max((errors[name] for errors in _errors(record) if name in errors), default=None)


def _over_plain(record: Record) -> float | None:
    judged = [errors for errors in _errors(record) if OURS_INT8 in errors]
    return max((errors[OURS_INT8] / errors[PLAIN_INT8] for errors in judged), default=None)


def _least(name: str) -> Measure:
    return lambda record: min((errors[name] for errors in _errors(record) if name in errors), default=None)


def _errors(record: Record) -> list[Numbers]:
    return [side["errors"] for side in record.accuracy.values()]


GOALS = (
    Goal("G11", "ours bf16 over diffusers bf16, 1024 + 256 tokens", 1.22, False, _ratio("diffusers", BASE, OURS_BF16)),
    Goal("G11", "the same, 256 + 256 tokens", 1.22, False, _ratio("diffusers", BASE, OURS_BF16, 1)),
    Goal("G11", "share of the bf16 product ceiling", 0.92, False, _of_ceiling),
    Goal("G12", "ours int8 over diffusers bf16, 1024 + 256 tokens", 2.05, False, _ratio("diffusers", BASE, OURS_INT8)),
    Goal("G12", "the same, 256 + 256 tokens", 2.05, False, _ratio("diffusers", BASE, OURS_INT8, 1)),
    Goal(
        "G13",
        "ours int8 over stable-diffusion.cpp q8_0",
        4,
        False,
        _ratio("sdcpp", SDCPP_Q8, OURS_INT8),
    ),
    Goal(
        "G13",
        "ours bf16 over stable-diffusion.cpp bf16",
        1.8,
        False,
        _ratio("sdcpp", SDCPP_BF16, OURS_BF16),
    ),
    Goal("parity", "error of ours bf16", 0.02, True, _error(OURS_BF16)),
    Goal("parity", "error of ours int8", 0.03, True, _error(OURS_INT8)),
    Goal("parity", "error of ours int8 over plain rounding", 1.15, True, _over_plain),
    Goal("parity", "error of blocks that do nothing", 0.5, False, _least(GUTTED)),
)
