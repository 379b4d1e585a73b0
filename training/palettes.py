"""The colors of each time of day."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.canvas import Color, Floats


@dataclass(frozen=True, slots=True)
class Palette:
    """Sky colors from zenith to horizon, the light's own color, and what the light does to things (a factor)."""

    sky_top: Floats
    sky_middle: Floats
    sky_low: Floats
    light: Floats
    cloud: Floats
    tint: Floats

    def lit(self, color: Color | Floats) -> Floats:
        """The color of a thing, as it looks in this light."""
        return np.asarray(color, np.float32) * self.tint

    def glistening(self, color: Color | Floats) -> Floats:
        """The color of snow, which keeps more of its white than other things do."""
        return np.asarray(np.asarray(color, np.float32) * self.tint**0.7, np.float32)


PALETTES: dict[str, tuple[Color, Color, Color, Color, Color, Color]] = {
    "day": ((0.18, 0.45, 0.85), (0.42, 0.67, 0.93), (0.76, 0.89, 0.97), (1.0, 0.97, 0.80), (1.0, 1.0, 1.0), (1, 1, 1)),
    "sunset": (
        (0.24, 0.17, 0.42),
        (0.75, 0.32, 0.36),
        (1.00, 0.64, 0.26),
        (1.0, 0.82, 0.42),
        (0.98, 0.56, 0.42),
        (0.86, 0.60, 0.52),
    ),
    "dawn": (
        (0.50, 0.55, 0.84),
        (0.84, 0.68, 0.84),
        (1.00, 0.82, 0.78),
        (1.0, 0.93, 0.84),
        (1.0, 0.88, 0.88),
        (0.92, 0.82, 0.88),
    ),
    "night": (
        (0.02, 0.03, 0.10),
        (0.05, 0.08, 0.20),
        (0.11, 0.16, 0.32),
        (0.92, 0.94, 1.0),
        (0.17, 0.21, 0.33),
        (0.34, 0.39, 0.53),
    ),
}


GREYNESS = {"none": 0.0, "fog": 0.35, "rain": 0.58, "snowfall": 0.42}
"""How far each weather takes the colors of the sky towards grey."""


def mixed_palette(time: str, weather: str, rng: Generator) -> Palette:
    """The palette of a time of day in a weather, each color mixed a little differently every time."""
    warmth = rng.uniform(-0.04, 0.04)
    shift = 1.0 + np.array([warmth, rng.uniform(-0.03, 0.03), -warmth], np.float32)
    top, middle, low, light, cloud, tint = (np.asarray(color, np.float32) * shift for color in PALETTES[time])
    grey = GREYNESS[weather]
    top, middle, low, cloud = (overcast(color, grey) for color in (top, middle, low, cloud))
    if weather == "rain" and time != "night":
        top, middle, low, cloud = 0.78 * top, 0.78 * middle, 0.8 * low, 0.66 * cloud
    return Palette(top, middle, low, light, cloud, overcast(tint, 0.6 * grey) * (1.0 - 0.25 * grey))


def overcast(color: Floats, grey: float) -> Floats:
    """A color, as far towards its own grey as said."""
    return np.asarray(color + grey * (np.array([0.97, 1.0, 1.05], np.float32) * color.mean() - color), np.float32)
