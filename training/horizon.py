"""What stands on the horizon: mountains with or without snow, or hills."""

from typing import Protocol

import numpy as np

from training.canvas import Color, Floats, jagged, mix, rolling
from training.stage import Stage

ROCKS: tuple[Color, ...] = ((0.50, 0.50, 0.58), (0.56, 0.48, 0.44), (0.44, 0.50, 0.58))
SNOW: Color = (0.97, 0.98, 1.0)
SNOW_SHADE: Color = (0.66, 0.74, 0.88)
GREEN: Color = (0.36, 0.58, 0.30)


class Backdrop(Protocol):
    """The part of a scene that stands on the horizon."""

    @property
    def back(self) -> str: ...


def paint_back(stage: Stage, scene: Backdrop) -> None:
    if scene.back == "hills":
        paint_hills(stage)
    elif scene.back != "none":
        paint_range(stage, snowy=scene.back == "snowy mountains")


def paint_hills(stage: Stage) -> None:
    canvas, palette, light, rng = stage.canvas, stage.palette, stage.light, stage.rng
    for haze, height in ((0.45, 0.16), (0.22, 0.11), (0.0, 0.06)):
        ridge = light.horizon - height * (0.75 + 0.4 * rolling(canvas.x, rng, rng.uniform(0.6, 1.3)))
        rows = canvas.rows(float(ridge.min()), light.horizon)
        below = canvas.y[rows] - ridge
        color = mix(palette.lit(GREEN), palette.sky_low, haze)
        shade = np.asarray(1.08 - 1.6 * np.clip(below, 0, 0.2), np.float32)
        canvas.blend(rows, color * shade[..., None], canvas.coverage(below))


def paint_range(stage: Stage, *, snowy: bool) -> None:
    """Peaks from the tallest, at the back and in haze, to the lowest."""
    rng = stage.rng
    rock = ROCKS[int(rng.integers(len(ROCKS)))]
    count = int(rng.integers(5, 8) * max(1.0, stage.canvas.aspect))
    places = (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count * stage.canvas.aspect
    heights = np.sort(rng.uniform(0.13, 0.30, count))[::-1] + 0.03
    for number, (x, height) in enumerate(zip(rng.permutation(places), heights, strict=True)):
        haze = 0.30 * (1 - number / count)
        paint_peak(stage, (float(x), float(height)), (rock, haze), snowy=snowy)


def paint_peak(stage: Stage, shape: tuple[float, float], surface: tuple[Color, float], *, snowy: bool) -> None:
    """shape: place and height of the peak; surface: the rock's color and the share of haze on it."""
    canvas, palette, light, rng = stage.canvas, stage.palette, stage.light, stage.rng
    (place, height), (rock, haze) = shape, surface
    slope = 1 / rng.uniform(0.9, 1.5)
    rough = height * (0.10 * jagged(canvas.x, rng, 9) + 0.045 * jagged(canvas.x, rng, 24))
    ridge = light.horizon - height + slope * np.abs(canvas.x - place) + rough
    rows = canvas.rows(float(ridge.min()), light.horizon)
    y = canvas.y[rows]
    drop = y - (light.horizon - height)
    spine = place + drop * rng.uniform(-0.25, 0.25) + 0.10 * height * jagged(y, rng, 14)
    lit = canvas.coverage(light.side(place) * (canvas.x - spine))
    color = mix(palette.lit(rock) * 0.58, palette.lit(rock) * 1.12, lit)
    if snowy:
        line = height * (rng.uniform(0.42, 0.58) + 0.17 * jagged(canvas.x, rng, 16))
        white = mix(palette.glistening(SNOW_SHADE), palette.glistening(SNOW), lit)
        color = mix_masked(color, white, canvas.coverage(line - drop))
    canvas.blend(rows, mix(color, palette.sky_low, haze), canvas.coverage(y - ridge))


def mix_masked(under: Floats, over: Floats, mask: Floats) -> Floats:
    return under + mask[..., None] * (over - under)
