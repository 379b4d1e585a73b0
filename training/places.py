"""Left, centre and right: which third of a picture a thing or a group has its middle in."""

from collections.abc import Sequence

from numpy.random import Generator

PLACES = ("none", "left", "centre", "right")
SPANS = {"left": (0.17, 0.25), "centre": (0.45, 0.55), "right": (0.75, 0.83)}
"""Where the middle is put, in widths of the picture: well inside its third."""
WIDE_SPANS = {"left": (0.25, 0.30), "centre": (0.46, 0.54), "right": (0.70, 0.75)}
"""The same for a row of three or more, which needs room on both sides."""
APART = 0.04
"""How far things in neighboring thirds draw back from each other, in widths of the picture."""
MARGIN = 0.02


def middle(place: str, aspect: float, rng: Generator, taken: set[str], *, wide: bool = False) -> float:
    """A random middle for a thing at a place, in heights of the picture, away from the places taken by others."""
    low, high = (WIDE_SPANS if wide else SPANS)[place]
    if place == "centre":
        away = APART * (("left" in taken) - ("right" in taken))
        return (float(rng.uniform(low, high)) + away) * aspect
    if "centre" in taken:
        low, high = (low - APART / 2, low + APART / 2) if place == "left" else (high - APART / 2, high + APART / 2)
    return float(rng.uniform(low, high)) * aspect


def row(place: str, half_widths: Sequence[float], aspect: float, rng: Generator, taken: set[str]) -> list[float]:
    """The middles of several things side by side, evenly but a little loosely; the outer two's middle is at place.

    half_widths and the result are in heights of the picture. Where the row is too wide for its place, things overlap
    rather than leave the picture.
    """
    count = len(half_widths)
    center = middle(place, aspect, rng, taken, wide=count > 2)
    if count == 1:
        return [center]
    reach = max(0.0, min(center, aspect - center) - MARGIN - 0.9 * max(half_widths[0], half_widths[-1]))
    step = min(1.05 * 2 * sum(half_widths) / count, 2 * reach / (count - 1))
    shift = step * (count - 1) / 2
    inner = [float(rng.uniform(-0.08, 0.08)) * step for _ in range(count - 2)]
    return [center - shift + step * k + loose for k, loose in enumerate([0.0, *inner, 0.0])]
