"""The ground: water that mirrors what is above it, grass, dunes and snow."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.canvas import Color, Floats, cloudy, mix, rolling, smoothstep
from training.stage import CLEARNESS, Stage

WATER: Color = (0.16, 0.36, 0.56)
SEA: Color = (0.07, 0.32, 0.52)
GRASS: Color = (0.34, 0.60, 0.22)
SAND: Color = (0.91, 0.71, 0.42)
SNOW: Color = (0.88, 0.97, 1.12)
SOILS = {"desert": (SAND, 0.34), "snow": (SNOW, 0.13), "meadow": (GRASS, 0.22)}
"""Color, and contrast between crests and feet."""


class Earth(Protocol):
    """The part of a scene that lies below the horizon, and what needs soil to stand on."""

    @property
    def ground(self) -> str: ...
    @property
    def weather(self) -> str: ...
    @property
    def tree_place(self) -> str: ...
    @property
    def cabin_place(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Bank:
    """Soil in front: x (W) and the height y of its edge there (W); feet stand between it and `near`."""

    x: Floats
    edge: Floats
    near: float

    def shore(self, x: float) -> float:
        return float(np.interp(x, self.x, self.edge))

    def foot(self, x: float, share: float) -> float:
        """Where a thing stands: share 0 at the bank's far edge, 1 at its nearest."""
        far = min(self.shore(x) + 0.025, self.near)
        return far + share * (self.near - far)


def paint_ground(stage: Stage, scene: Earth) -> Bank:
    """Paints everything below the horizon and says where a tree or a cabin would stand."""
    if scene.ground == "lake":
        return paint_lake(stage, scene)
    if scene.ground == "ocean":
        paint_ocean(stage, CLEARNESS[scene.weather])
        return level(stage, 1.0)
    color, contrast = SOILS[scene.ground]
    lit = stage.palette.glistening(color) if scene.ground == "snow" else stage.palette.lit(color)
    paint_folds(stage, lit, contrast)
    return level(stage, stage.light.horizon + 0.12)


def level(stage: Stage, edge: float) -> Bank:
    x = stage.canvas.x[0]
    return Bank(x, np.full_like(x, edge), 0.95)


def mirrored(stage: Stage) -> tuple[slice, Floats]:
    """The picture above the horizon, upside down and rippled, for the rows below it."""
    canvas, light, rng = stage.canvas, stage.light, stage.rng
    height, width, _ = canvas.image.shape
    start = int(light.horizon * height)
    depth = np.arange(height - start)
    source = np.clip(start - 1 - depth, 0, height - 1)
    swing = 0.010 * height * np.sqrt(depth / height)
    shift = swing * (np.sin(depth / height * 110 + rng.random() * 6) + np.sin(depth / height * 47 + rng.random() * 6))
    columns = np.clip(np.arange(width)[None] + shift[:, None].astype(np.int64), 0, width - 1)
    return slice(start, height), canvas.image[source[:, None], columns]


def paint_lake(stage: Stage, scene: Earth) -> Bank:
    canvas, palette, light = stage.canvas, stage.palette, stage.light
    rows, mirror = mirrored(stage)
    depth = (canvas.y[rows] - light.horizon) / (1 - light.horizon)
    canvas.image[rows] = mix_rows(mirror, palette.lit(WATER), 0.22 + 0.38 * depth)
    shore = canvas.rows(light.horizon - 0.008, light.horizon + 0.006)
    edge = canvas.coverage(0.006 - np.abs(canvas.y[shore] - light.horizon)) * np.ones_like(canvas.x)
    canvas.blend(shore, palette.lit(GRASS) * 0.55, edge)
    places = {scene.tree_place, scene.cabin_place} - {"none"}
    if not places and stage.rng.random() < 0.6:
        return level(stage, 1.0)
    return paint_bank(stage, places)


def paint_bank(stage: Stage, places: set[str]) -> Bank:
    """A near shore that comes in from the side where things stand, or all along the picture's foot."""
    canvas, rng = stage.canvas, stage.rng
    sides = places or {str(rng.choice(("left", "right")))}
    if len(sides) > 1 or "centre" in sides or rng.random() < 0.2:
        edge = rng.uniform(0.81, 0.86) + 0.018 * rolling(canvas.x, rng, rng.uniform(0.4, 0.8))
    else:
        reach = rng.uniform(0.58, 0.75) * canvas.aspect
        inward = canvas.x if "left" in sides else canvas.aspect - canvas.x
        edge = 1.03 - 0.25 * smoothstep((reach - inward) / reach * 1.7) + 0.010 * rolling(canvas.x, rng, 2.0)
    rows = canvas.rows(float(edge.min()), 1.0)
    below = canvas.y[rows] - edge
    color = stage.palette.lit(GRASS)[None, None] * (0.95 - 1.2 * np.clip(below, 0, 0.3))[..., None]
    canvas.blend(rows, np.asarray(color, np.float32), canvas.coverage(below))
    return Bank(canvas.x[0], np.asarray(edge[0], np.float32), 0.95)


def paint_ocean(stage: Stage, glitter: float) -> None:
    """glitter: how much of the path of light under the sun or moon is seen, in [0, 1]."""
    canvas, palette, light, rng = stage.canvas, stage.palette, stage.light, stage.rng
    rows = canvas.rows(light.horizon + canvas.pixel, 1.0)
    height = canvas.image[rows].shape[0]
    depth = np.clip((canvas.y[rows] - light.horizon) / (1 - light.horizon), 0, 1)
    color = mix(mix(palette.lit(SEA), palette.sky_low, 0.42), palette.lit(SEA) * 0.8, smoothstep(depth * 1.1))
    waves = cloudy(height, canvas.image.shape[1], (14, round(4 + 3 * canvas.aspect)), rng) - 0.5
    canvas.image[rows] = color + (0.16 * waves * (0.35 + depth))[..., None] * palette.sky_middle
    width = 0.035 + 0.10 * depth
    path = np.exp(-(((canvas.x - light.x) / width) ** 2)) * np.clip(0.55 + 1.5 * waves, 0, 1)
    canvas.blend(rows, palette.light, 0.62 * glitter * path * (1 - 0.6 * depth))


def paint_folds(stage: Stage, color: Floats, contrast: float) -> None:
    """Soft folds of land, one before the other, each with a bright crest and a shaded foot."""
    canvas, palette, light, rng = stage.canvas, stage.palette, stage.light, stage.rng
    side = light.side(canvas.aspect / 2)
    count = int(rng.integers(3, 5))
    for number in range(count):
        share = number / count
        crest = light.horizon + (1 - light.horizon) * share**1.3
        swell = 0.0 if number == 0 else 0.030 * (1 + share) * rolling(canvas.x, rng, rng.uniform(0.5, 0.9))
        edge = np.asarray(crest + swell + 0 * canvas.x, np.float32)
        rows = canvas.rows(float(edge.min()), 1.0)
        below = canvas.y[rows] - edge
        tilt = np.gradient(edge[0])[None] / canvas.pixel * side
        shade = 1.0 + contrast * (0.9 * tilt + 0.35 - 3.2 * np.clip(below, 0, 0.26))
        haze = 0.16 * (1 - share)
        canvas.blend(rows, mix(color * shade[..., None], palette.sky_low, haze), canvas.coverage(below))


def mix_rows(image: Floats, color: Floats, share: Floats) -> Floats:
    return image + share[..., None] * (color - image)
