"""Left, centre and right: which third of a picture a thing or a group has its middle in."""

from collections.abc import Sequence

from numpy.random import Generator

PLACES = ("none", "left", "centre", "right")
SPANS = {"left": (0.16, 0.25), "centre": (0.45, 0.55), "right": (0.75, 0.84)}
"""Where the middle is put, in widths of the picture: well inside its third."""
MARGIN = 0.02


def middle(place: str, aspect: float, rng: Generator) -> float:
    """A random middle for a thing at a place, in heights of the picture."""
    low, high = SPANS[place]
    return float(rng.uniform(low, high)) * aspect


def row(place: str, half_widths: Sequence[float], aspect: float, rng: Generator) -> list[float]:
    """The middles of several things side by side, evenly but a little loosely; the outer edges' middle is at place.

    half_widths and the result are in heights of the picture. Where the row is too wide for its place, things overlap
    rather than leave their third: the whole row's middle stays in it.
    """
    center, count = middle(place, aspect, rng), len(half_widths)
    if count == 1:
        return [center]
    outer = max(half_widths[0], half_widths[-1])
    reach = max(0.0, min(center, aspect - center) - MARGIN - 0.8 * outer)
    step = min(1.05 * 2 * sum(half_widths) / count, 2 * reach / (count - 1))
    shift = step * (count - 1) / 2
    inner = [float(rng.uniform(-0.08, 0.08)) * step for _ in range(count - 2)]
    return [center - shift + step * k + loose for k, loose in enumerate([0.0, *inner, 0.0])]
