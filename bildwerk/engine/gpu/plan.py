"""Where the parts of a model may lie, from the fastest way down to the smallest.

A *resident* part stays on the device.  A *streamed* one lies in the host's memory and visits the device block by block,
the next one on its way while one works (`streaming.py`).  The modulation runs once a prompt and the text encoder once
a text, so those are streamed first; the rest runs at every step, and its streaming is what a small card pays with.

Where the steps are computed in fewer bits and the memory does not hold all as it is, the text encoder's weights are in
eight: half as many have to be held, or to travel for each prompt.
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
    """`text`: in what the text encoder's weights are held, bf16 or int8."""

    placement: Placement
    precision: Precision
    text: Precision = Precision.BF16

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
        text = "" if self.text is Precision.BF16 else f", text {self.text}"
        return f"{self.placement} ({self.precision}{text})"


def find_placement(name: str | None) -> Placement | None:
    """None stays None. Raises `EngineError` for one that is not known."""
    if name is not None and name not in {*Placement}:
        raise EngineError(f"placement {name!r} is not one of {', '.join(Placement)}")
    return None if name is None else Placement(name)


def plans(precisions: Sequence[Precision]) -> Sequence[Plan]:
    """Best first: the first precision with whatever does not run at every step streamed, then the next; streaming
    what runs at every step comes after that, with the fewest bits first; and four bits, which show, last of all."""
    gentle = [plan for precision in precisions if precision is not Precision.INT4 for plan in _plans_in(precision)]
    return [
        *(plan for plan in gentle if not plan.streams_blocks),
        *(plan for plan in reversed(gentle) if plan.streams_blocks),
        *(_plans_in(Precision.INT4) if Precision.INT4 in precisions else ()),
    ]


def plans_at(placement: Placement, precisions: Sequence[Precision]) -> Sequence[Plan]:
    """Those of one placement, by precision."""
    return [plan for precision in precisions for plan in _plans_in(precision) if plan.placement is placement]


def _plans_in(precision: Precision) -> Sequence[Plan]:
    """What nobody has made narrower stays exact, the text encoder, too."""
    if precision is Precision.BF16:
        return [Plan(place, precision) for place in Placement]
    return [
        Plan(Placement.RESIDENT, precision),
        *(Plan(place, precision, text=Precision.INT8) for place in Placement),
    ]
