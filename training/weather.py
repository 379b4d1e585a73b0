"""Fog, rain and falling snow, over what is painted already."""

from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.canvas import Floats, cloudy, mix
from training.stage import Stage

WEATHERS = ("none", "fog", "rain", "snowfall")


class Air(Protocol):
    """The part of a scene that is in the air."""

    @property
    def time(self) -> str: ...
    @property
    def weather(self) -> str: ...


def paint_haze(stage: Stage, scene: Air, strength: float) -> None:
    """Bands of fog, thickest at the horizon; painted more than once, they put far things deeper into it."""
    if scene.weather != "fog":
        return
    canvas, rng = stage.canvas, stage.rng
    height, width, _ = canvas.image.shape
    away = np.abs(canvas.y - stage.light.horizon)
    thick = np.exp(-((away / 0.20) ** 2))
    bands = cloudy(height, width, (9, 3), rng) - 0.5
    mask = np.clip(strength * (0.80 * thick + 0.9 * bands * np.exp(-((away / 0.32) ** 2)) + 0.14), 0, 0.96)
    canvas.blend(slice(None), fog_color(stage), np.asarray(mask, np.float32))


def fog_color(stage: Stage) -> Floats:
    return mix(stage.palette.sky_low, (1.0, 1.0, 1.0), float(0.55 * stage.palette.tint.mean()))


def paint_weather(stage: Stage, scene: Air) -> None:
    """What falls between the picture and its viewer."""
    if scene.weather == "rain":
        paint_rain(stage)
    elif scene.weather == "snowfall":
        paint_snowfall(stage)


def paint_rain(stage: Stage) -> None:
    canvas, rng = stage.canvas, stage.rng
    height, width, _ = canvas.image.shape
    layer = Image.new("L", (2 * width, 2 * height))
    pen = ImageDraw.Draw(layer)
    slant = float(rng.uniform(0.22, 0.42)) * (-1 if rng.random() < 0.5 else 1)
    stroke = max(1, round(2 * 0.0065 * height))
    for _ in range(int(rng.integers(60, 90) * max(1.0, canvas.aspect))):
        x, y = rng.uniform(-0.1, 1.1) * 2 * width, rng.uniform(-0.1, 1) * 2 * height
        drop = rng.uniform(0.08, 0.15) * 2 * height
        pen.line((x, y, x + slant * drop, y + drop), fill=int(rng.uniform(80, 150)), width=stroke)
    mask = np.asarray(layer.reduce(2), np.float32) / 255.0
    canvas.blend(slice(None), mix(stage.palette.sky_low, (0.90, 0.95, 1.0), 0.6), mask)


def paint_snowfall(stage: Stage) -> None:
    canvas, rng = stage.canvas, stage.rng
    height, width, _ = canvas.image.shape
    layer = Image.new("L", (2 * width, 2 * height))
    pen = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(55, 95) * max(1.0, canvas.aspect))):
        x, y, r = rng.random() * 2 * width, rng.random() * 2 * height, rng.uniform(0.006, 0.0125) * 2 * height
        pen.ellipse((x - r, y - r, x + r, y + r), fill=int(rng.uniform(190, 250)))
    soft = layer.reduce(2).filter(ImageFilter.GaussianBlur(height / 400))
    bright = 0.75 + 0.25 * float(stage.palette.tint.mean())
    canvas.blend(slice(None), (bright, bright, min(1.0, 1.03 * bright)), np.asarray(soft, np.float32) / 255.0)
