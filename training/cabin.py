"""A cabin with painted walls, seen from a corner: a gable, a long side and a roof over both."""

from typing import Protocol

from training.canvas import Color
from training.ground import Bank
from training.pen import Ink, Pen, Point
from training.places import middle
from training.stage import Stage

WALLS: dict[str, Color] = {
    "red": (0.86, 0.15, 0.13),
    "brown": (0.50, 0.29, 0.15),
    "blue": (0.15, 0.42, 0.86),
    "white": (0.98, 0.97, 0.93),
    "yellow": (1.0, 0.80, 0.16),
}
CABINS = ("none", *WALLS)
ROOF: Color = (0.30, 0.28, 0.34)
DOOR: Color = (0.30, 0.19, 0.13)
SNOW: Color = (0.95, 0.97, 1.0)
PANE: Color = (0.62, 0.80, 0.92)
LAMP: Ink = (255, 222, 110, 255)


class Homestead(Protocol):
    """The part of a scene that a cabin is drawn from."""

    @property
    def time(self) -> str: ...
    @property
    def ground(self) -> str: ...
    @property
    def weather(self) -> str: ...
    @property
    def cabin(self) -> str: ...
    @property
    def cabin_place(self) -> str: ...


def draw_cabin(pen: Pen, stage: Stage, scene: Homestead, bank: Bank, taken: set[str]) -> None:
    canvas, rng = stage.canvas, stage.rng
    wide = float(rng.uniform(0.22, 0.30)) * canvas.unit
    center = middle(scene.cabin_place, canvas.aspect, rng, taken)
    center = min(max(center, 0.56 * wide), canvas.aspect - 0.56 * wide)
    floor = bank.foot(center, float(rng.uniform(0.15, 0.5)))
    way = -1.0 if rng.random() < 0.5 else 1.0
    color = WALLS[scene.cabin]

    def at(across: float, up: float) -> Point:
        """A point of the cabin: across in [0, 1] from the gable's outer edge, and up; in widths of the cabin."""
        return center + way * (across - 0.5) * wide, floor - up * wide

    def shape(points: list[tuple[float, float]], ink: Ink) -> None:
        pen.polygon([at(*point) for point in points], ink)

    pen.under().oval(center, floor, (0.58 * wide, 0.06 * wide), (0, 0, 0, 60))
    gable, side = (1.0, 0.78) if stage.light.side(center) != way else (0.82, 1.0)
    white = scene.ground == "snow" or scene.weather == "snowfall"
    shape([(0.72, 0.5), (0.72, 0.86), (0.83, 0.86), (0.83, 0.5)], pen.ink(ROOF, 0.8))  # the chimney
    shape([(0.42, 0), (0.42, 0.4), (1, 0.4), (1, 0)], pen.ink(color, side))
    shape([(0, 0), (0, 0.4), (0.21, 0.68), (0.42, 0.4), (0.42, 0)], pen.ink(color, gable))
    slope = [(0.21, 0.74), (0.80, 0.74), (1.06, 0.36), (0.46, 0.36)]
    shape(slope, pen.ink(ROOF))
    if white:
        shape([(0.21, 0.74), (0.80, 0.74), (1.02, 0.42), (0.425, 0.42)], pen.ink(SNOW))
    shape([(-0.06, 0.36), (0.21, 0.74), (0.21, 0.65), (-0.01, 0.34)], pen.ink(SNOW if white else ROOF, 0.85))
    shape([(0.21, 0.74), (0.46, 0.36), (0.41, 0.34), (0.21, 0.65)], pen.ink(SNOW if white else ROOF, 0.85))
    shape([(0.13, 0), (0.13, 0.27), (0.29, 0.27), (0.29, 0)], pen.ink(DOOR))
    glow = pen.ink(PANE) if scene.time == "day" else LAMP
    for left in (0.51, 0.76):
        shape([(left - 0.02, 0.11), (left - 0.02, 0.30), (left + 0.17, 0.30), (left + 0.17, 0.11)], pen.ink(DOOR, 1.2))
        shape([(left, 0.13), (left, 0.28), (left + 0.15, 0.28), (left + 0.15, 0.13)], glow)
