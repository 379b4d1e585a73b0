"""What every part of a picture is painted with: the canvas, its colors, where the light stands, and the chance."""

from dataclasses import dataclass

from numpy.random import Generator

from training.canvas import Canvas
from training.palettes import Palette

CLEARNESS = {"none": 1.0, "fog": 0.55, "rain": 0.0, "snowfall": 0.35}
"""How much of the sun, moon and stars each weather lets through."""


@dataclass(frozen=True, slots=True)
class Light:
    """The sun or moon, and the horizon under it; in heights of the picture."""

    x: float
    y: float
    radius: float
    horizon: float

    def side(self, x: float) -> float:
        """On which side of x the light stands: 1 right, -1 left."""
        return 1.0 if self.x > x else -1.0


@dataclass(frozen=True, slots=True)
class Stage:
    canvas: Canvas
    palette: Palette
    light: Light
    rng: Generator
