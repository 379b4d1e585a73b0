"""Where the parts of a model may lie, from the fastest way down to the smallest.

A *resident* part stays on the device.  A *streamed* one lies in the host's memory and visits the device block by block,
the next one on its way while one works (`streaming.py`).  The modulation runs once a prompt and the text encoder once
a text, so those are streamed first; the rest runs at every step, and its streaming is what a small card pays with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bildwerk.engine.precision import Precision
from bildwerk.engine.request import EngineError


class Placement(StrEnum):
    """By what is streamed; each streams what the one before does."""

    RESIDENT = "resident"
    TEXT_STREAMED = "text-streamed"
    MODULATION_STREAMED = "modulation-streamed"
    ALL_STREAMED = "all-streamed"


@dataclass(frozen=True, slots=True)
class Plan:
    placement: Placement
    precision: Precision

    @property
    def streams_text(self) -> bool:
        return self.placement is not Placement.RESIDENT

    @property
    def streams_modulation(self) -> bool:
        return self.placement in (Placement.MODULATION_STREAMED, Placement.ALL_STREAMED)

    @property
    def streams_blocks(self) -> bool:
        return self.placement is Placement.ALL_STREAMED

    def __str__(self) -> str:
        return f"{self.placement} ({self.precision})"


def find_placement(name: str | None) -> Placement | None:
    """None stays None. Raises `EngineError` for one that is not known."""
    if name is not None and name not in {*Placement}:
        raise EngineError(f"placement {name!r} is not one of {', '.join(Placement)}")
    return None if name is None else Placement(name)


def plans(precisions: Sequence[Precision]) -> Sequence[Plan]:
    """Best first: the first precision with whatever does not run at every step streamed, then the next; streaming
    what runs at every step comes last, with the fewest bits first."""
    gentle = [Plan(place, precision) for precision in precisions for place in Placement]
    return [
        *(plan for plan in gentle if not plan.streams_blocks),
        *(plan for plan in reversed(gentle) if plan.streams_blocks),
    ]
