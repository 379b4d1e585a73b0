"""Draws flat shapes onto a transparent layer of twice the picture's resolution, which is halved in the end."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from training.canvas import Canvas, Color, Floats
from training.palettes import Palette

OVERSAMPLING = 2
CLEAR_LIGHT = 0.38
"""The share of white light on things, so that a red wall is red at night too."""

Point = tuple[float, float]
Ink = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Pen:
    """Draws in heights of the picture. What is drawn later covers what was drawn before, whatever its alpha."""

    layer: Image.Image
    draw: ImageDraw.ImageDraw
    scale: float
    palette: Palette

    @classmethod
    def on(cls, canvas: Canvas, palette: Palette) -> "Pen":
        height, width, _ = canvas.image.shape
        layer = Image.new("RGBA", (OVERSAMPLING * width, OVERSAMPLING * height))
        return cls(layer, ImageDraw.Draw(layer), float(OVERSAMPLING * height), palette)

    def ink(self, color: Color, shade: float = 1.0, alpha: int = 255) -> Ink:
        lit = np.asarray(color, np.float32) * (CLEAR_LIGHT + (1 - CLEAR_LIGHT) * self.palette.tint)
        red, green, blue = (int(255 * min(1.0, max(0.0, float(c) * shade))) for c in lit)
        return red, green, blue, alpha

    def polygon(self, points: list[Point], ink: Ink) -> None:
        self.draw.polygon([(x * self.scale, y * self.scale) for x, y in points], fill=ink)

    def disc(self, x: float, y: float, r: float, ink: Ink) -> None:
        self.oval(x, y, (r, r), ink)

    def oval(self, x: float, y: float, radii: tuple[float, float], ink: Ink) -> None:
        s, (rx, ry) = self.scale, radii
        self.draw.ellipse(((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s), fill=ink)

    def box(self, left: float, top: float, right: float, bottom: float, ink: Ink) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], ink)

    def painted(self) -> Floats:
        """The layer at the picture's own resolution: H W 4 in [0, 1], alpha last."""
        return np.asarray(self.layer.reduce(OVERSAMPLING), np.float32) / 255.0
