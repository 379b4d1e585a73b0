"""A float picture to paint on, in units of its height, with anti-aliased edges and a few kinds of noise."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Color = tuple[float, float, float]


@dataclass(slots=True)
class Canvas:
    """image: H W 3 in [0, 1]. x (1 W) and y (H 1) are pixel centers; the height is 1 and the width is `aspect`."""

    image: Floats
    x: Floats
    y: Floats
    aspect: float
    pixel: float

    @classmethod
    def blank(cls, width: int, height: int) -> "Canvas":
        x = np.asarray((np.arange(width, dtype=np.float32) + 0.5) / height, np.float32)
        y = np.asarray((np.arange(height, dtype=np.float32) + 0.5) / height, np.float32)
        return cls(np.zeros((height, width, 3), np.float32), x[None], y[:, None], width / height, 1.0 / height)

    @property
    def unit(self) -> float:
        """The shorter side, in heights: what things are measured in, so that they fit upright pictures too."""
        return min(1.0, self.aspect)

    def rows(self, top: float, bottom: float) -> slice:
        """The rows that lie between two heights, one more on either side."""
        height = self.y.shape[0]
        return slice(max(0, int(top * height) - 1), min(height, int(bottom * height) + 2))

    def coverage(self, distance: Floats) -> Floats:
        """How much of a pixel lies inside a shape, from its signed distance to the edge (inside is positive)."""
        return np.clip(distance / self.pixel + 0.5, 0.0, 1.0)

    def blend(self, rows: slice, color: Floats | Color, mask: Floats) -> None:
        """Paints color over the rows, where and as far as mask (rows x W, or 1 wide) says."""
        part = self.image[rows]
        part += mask[..., None] * (np.asarray(color, np.float32) - part)

    def pixels(self) -> Pixels:
        return (np.clip(self.image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def mix(a: Floats | Color, b: Floats | Color, share: Floats | float) -> Floats:
    """`a` and `b` (colors) in proportion; a share of shape H W gives colors of shape H W 3."""
    weight = np.asarray(share, np.float32)[..., None]
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return first + weight * (second - first)


def smoothstep(x: Floats) -> Floats:
    t = np.clip(x, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def jagged(x: Floats, rng: Generator, frequency: float) -> Floats:
    """A random zigzag along x in [-1, 1]: straight lines between random points, as broken rock has."""
    knots = rng.uniform(-1.0, 1.0, int((x.max() + 1.0) * frequency) + 3)
    return np.interp(x * frequency, np.arange(len(knots)), knots).astype(np.float32)


def rolling(x: Floats, rng: Generator, frequency: float) -> Floats:
    """A smooth random curve along x in [-1, 1]."""
    waves = (1.0, 0.5, 0.25)
    total = sum(a * np.sin(6.28318 * (x * frequency * k + rng.random())) for k, a in enumerate(waves, start=1))
    return np.asarray(total / 1.4, np.float32)


def cloudy(height: int, width: int, cells: tuple[int, int], rng: Generator) -> Floats:
    """Smooth noise in about [0, 1], H W, from a coarse random grid of cells (rows, columns)."""
    grid = Image.fromarray(rng.random(cells, dtype=np.float32))
    return np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), np.float32)
