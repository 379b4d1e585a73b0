"""Draws flat shapes onto a transparent layer of twice the picture's resolution, which is halved in the end."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from training.canvas import Canvas, Color, Floats
from training.palettes import Palette

OVERSAMPLING = 2
CLEAR_LIGHT = 0.5
"""The share of white light on things, so that a red wall is red at night too."""

Point = tuple[float, float]
Ink = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Pen:
    """Draws in heights of the picture: things on a layer, and their shadows and reflections on another one below."""

    layer: Image.Image
    below: Image.Image
    draw: ImageDraw.ImageDraw
    scale: float
    palette: Palette

    @classmethod
    def on(cls, canvas: Canvas, palette: Palette) -> "Pen":
        height, width, _ = canvas.image.shape
        size = (OVERSAMPLING * width, OVERSAMPLING * height)
        layer = Image.new("RGBA", size)
        return cls(layer, Image.new("RGBA", size), ImageDraw.Draw(layer), float(OVERSAMPLING * height), palette)

    def under(self) -> "Pen":
        """A pen for what lies below everything else."""
        return replace(self, draw=ImageDraw.Draw(self.below))

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
        return np.asarray(Image.alpha_composite(self.below, self.layer).reduce(OVERSAMPLING), np.float32) / 255.0
