"""Sailing boats with colored hulls and sails, one or a small fleet, and their reflections."""

from typing import Protocol

from training.canvas import Color
from training.ground import Bank
from training.pen import Pen, Point
from training.places import row
from training.stage import Stage

PAINTS: dict[str, Color] = {
    "white": (1.0, 0.99, 0.97),
    "red": (0.90, 0.13, 0.12),
    "blue": (0.10, 0.28, 0.86),
    "yellow": (1.0, 0.82, 0.10),
    "green": (0.10, 0.58, 0.22),
}
BOAT_COLORS = ("none", *PAINTS)
JIB: Color = (0.98, 0.96, 0.90)
MAST: Color = (0.32, 0.20, 0.13)
HEIGHTS = {1: (0.19, 0.24), 2: (0.17, 0.22), 3: (0.15, 0.19), 4: (0.145, 0.18)}
"""How tall boats are, by their count, in widths or heights of the picture, whichever is less."""


class Fleet(Protocol):
    """The part of a scene that boats are drawn from."""

    @property
    def boat_count(self) -> int: ...
    @property
    def boat_color(self) -> str: ...
    @property
    def boat_place(self) -> str: ...


def draw_boats(pen: Pen, stage: Stage, scene: Fleet, bank: Bank, taken: set[str]) -> None:
    """Draws the boats and their reflections, the farthest first."""
    boats = sorted(moorings(stage, scene, bank, taken), key=lambda boat: boat[0][1])
    way = -1.0 if stage.rng.random() < 0.5 else 1.0  # the wind blows one way for all
    for place, tall in boats:
        draw_boat(pen.under(), place, (way * tall, -0.55 * tall), PAINTS[scene.boat_color], alpha=80)
        draw_boat(pen, place, (way * tall, tall), PAINTS[scene.boat_color])


def moorings(stage: Stage, scene: Fleet, bank: Bank, taken: set[str]) -> list[tuple[Point, float]]:
    """(waterline, height) of each boat; near and far boats take turns, so that each can be seen."""
    canvas, rng = stage.canvas, stage.rng
    low, high = HEIGHTS[scene.boat_count]
    tall = [float(rng.uniform(low, high)) * canvas.unit for _ in range(scene.boat_count)]
    places = row(scene.boat_place, [0.42 * t for t in tall], canvas.aspect, rng, taken)
    nearest = min(bank.shore(x) for x in places) - 0.05
    far = stage.light.horizon + 0.05
    first = int(rng.integers(2))
    boats: list[tuple[Point, float]] = []
    for number, (x, height) in enumerate(zip(places, tall, strict=True)):
        near = (number + first) % 2
        depth = (0.2 if not near else 0.55) + float(rng.uniform(0, 0.12))
        size = height * (1.08 if near else 0.94)
        boats.append(((x, far + depth * (min(nearest, far + 0.34) - far)), size))
    return boats


def draw_boat(pen: Pen, place: Point, size: Point, color: Color, *, alpha: int = 255) -> None:
    """size: half the width's scale, signed by the way it sails, and the height, negative for a reflection."""
    (x, y), (along, up) = place, size

    def shape(points: list[Point], ink: tuple[int, int, int, int]) -> None:
        pen.polygon([(x + along * across, y - up * high) for across, high in points], ink)

    shape([(-0.38, 0.15), (0.44, 0.17), (0.27, 0), (-0.26, 0)], pen.ink(color, 0.86, alpha))
    shape([(-0.30, 0.045), (0.31, 0.045), (0.27, 0), (-0.26, 0)], pen.ink(color, 0.55, alpha))
    shape([(-0.02, 0.14), (-0.02, 1.0), (0.015, 1.0), (0.015, 0.14)], pen.ink(MAST, 1.0, alpha))
    shape([(-0.03, 0.97), (-0.03, 0.22), (-0.36, 0.22)], pen.ink(color, 1.0, alpha))
    shape([(0.03, 0.90), (0.03, 0.22), (0.36, 0.24)], pen.ink(JIB, 0.9, alpha))
