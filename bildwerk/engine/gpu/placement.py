"""Which plans a device has room for: for cards from 80 GB down to 8, what fits is counted before anything is loaded."""

from collections.abc import Iterable, Sequence

from bildwerk.engine.buckets import Bucket
from bildwerk.engine.gpu.footprint import GIB, Footprint, Model, footprint
from bildwerk.engine.gpu.plan import Plan, plans
from bildwerk.engine.precision import Precision
from bildwerk.engine.request import OutOfMemoryError

CARDS = (80, 48, 24, 16, 12, 8)
"""In GB, of which a tenth is someone else's."""
USUAL = Bucket(1, 1024, 1024)
ANY = (Precision.BF16, Precision.FP8)


class DoesNotFitError(OutOfMemoryError):
    """No plan fits the device, with what the smallest one needs."""


def fitting(
    free: int, model: Model, among: Sequence[Plan], largest: Bucket = USUAL, *, records: bool = False
) -> Sequence[Plan]:
    """Of these plans those that `free` bytes suffice for, in their order. `largest`: of the requests.

    Raises `DoesNotFitError` where there is none.
    """
    needs = [footprint(plan, model, largest, records=records) for plan in among]
    fit = [need.plan for need in needs if need.total <= free]
    if not fit:
        least = min(needs, key=lambda need: need.total)
        raise DoesNotFitError(
            f"{free / GIB:.1f} GiB of device memory are free, and {least.plan} needs {least.total / GIB:.1f} GiB"
        )
    return fit


def table(model: Model, cards: Iterable[int] = CARDS, among: Sequence[Plan] = plans(ANY)) -> list[tuple[str, ...]]:
    """A header and one row a card: the plan and its GiB, by part."""
    return [
        ("card", "plan", "blocks", "modulation", "text", "rest", "workspace", "total"),
        *(_row(model, card, among) for card in cards),
    ]


def _row(model: Model, card: int, among: Sequence[Plan]) -> tuple[str, ...]:
    try:
        need = footprint(fitting(int(0.9 * card * 10**9), model, among)[0], model)
    except DoesNotFitError as reason:
        return (f"{card} GB", str(reason))
    return (f"{card} GB", str(need.plan), *in_gib(need))


def in_gib(need: Footprint) -> tuple[str, ...]:
    sizes = (need.blocks, need.modulation, need.text, need.rest, need.workspace, need.total)
    return tuple(f"{size / GIB:.2f}" for size in sizes)
