"""The sky: its gradient, sun or moon, stars and clouds; and where the horizon and the light are."""

from typing import Protocol

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from training.canvas import Canvas, Floats, mix, smoothstep
from training.stage import CLEARNESS, Light, Stage


class Heavens(Protocol):
    """The part of a scene that the sky shows."""

    @property
    def time(self) -> str: ...
    @property
    def weather(self) -> str: ...
    @property
    def clouds(self) -> bool: ...


LIGHT_HEIGHT = {"day": (0.25, 0.7), "sunset": (0.78, 0.96), "dawn": (0.62, 0.88), "night": (0.22, 0.6)}
LIGHT_RADIUS = {"day": 0.040, "sunset": 0.062, "dawn": 0.050, "night": 0.046}
GLOW = {"day": 0.55, "sunset": 0.85, "dawn": 0.6, "night": 0.35}


def place_light(canvas: Canvas, scene: Heavens, rng: Generator) -> Light:
    horizon = float(rng.uniform(0.50, 0.62))
    low, high = LIGHT_HEIGHT[scene.time]
    return Light(
        x=float(rng.uniform(0.15, 0.85)) * canvas.aspect,
        y=float(rng.uniform(low, high)) * horizon,
        radius=LIGHT_RADIUS[scene.time] * float(rng.uniform(0.85, 1.15)),
        horizon=horizon,
    )


def paint_sky(stage: Stage, scene: Heavens) -> None:
    paint_gradient(stage)
    if scene.time == "night" and scene.weather == "none":
        paint_stars(stage)
    if CLEARNESS[scene.weather] > 0:
        paint_light(stage, scene)
    if scene.clouds:
        paint_clouds(stage)


def paint_gradient(stage: Stage) -> None:
    canvas, palette, light = stage.canvas, stage.palette, stage.light
    depth = canvas.y / light.horizon
    upper = mix(palette.sky_top, palette.sky_middle, np.clip(depth / 0.55, 0, 1))
    canvas.image[:] = upper + np.clip((depth - 0.55) / 0.45, 0, 1)[..., None] * (palette.sky_low - upper)


def paint_light(stage: Stage, scene: Heavens) -> None:
    canvas, palette, light = stage.canvas, stage.palette, stage.light
    rows = canvas.rows(0, light.horizon)
    distance = np.hypot(canvas.x - light.x, canvas.y[rows] - light.y)
    clear = CLEARNESS[scene.weather]
    canvas.blend(rows, palette.light, clear * GLOW[scene.time] * np.exp(-distance / (2.6 * light.radius)))
    canvas.blend(rows, palette.light, clear * canvas.coverage(light.radius - distance))
    if scene.time == "night":
        shade = np.hypot(canvas.x - light.x - 0.35 * light.radius, canvas.y[rows] - light.y + 0.2 * light.radius)
        dim = clear * canvas.coverage(light.radius - distance) * smoothstep(shade / light.radius - 0.4)
        canvas.blend(rows, palette.light * 0.72, dim)


def paint_stars(stage: Stage) -> None:
    canvas, light, rng = stage.canvas, stage.light, stage.rng
    height, width, _ = canvas.image.shape
    for _ in range(int(rng.integers(35, 50) * max(1.0, canvas.aspect))):
        x, y, size = rng.random() * canvas.aspect, rng.random() * light.horizon, rng.uniform(0.0035, 0.0055)
        reach = 2 * size + canvas.pixel
        rows = slice(max(0, int((y - reach) * height)), int((y + reach) * height) + 1)
        columns = slice(max(0, int((x - reach) * height)), min(width, int((x + reach) * height) + 1))
        distance = np.hypot(canvas.x[:, columns] - x, canvas.y[rows] - y)
        part = canvas.image[rows, columns]
        part += np.exp(-((distance / size) ** 2))[..., None] * rng.uniform(0.6, 1.0) * (0.95 - part)


def cloud_mask(stage: Stage) -> Floats:
    """Heaps of discs with flat feet, softened: H W in [0, 1]."""
    canvas, rng = stage.canvas, stage.rng
    height, width, _ = canvas.image.shape
    layer = Image.new("L", (width, height))
    pen = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(3, 6) * max(1.0, canvas.aspect))):
        x, y = cloud_place(stage)
        span = rng.uniform(0.11, 0.22) * height
        for _ in range(int(rng.integers(6, 11))):
            dx = rng.uniform(-1, 1)
            r = span * rng.uniform(0.18, 0.42) * (1.1 - abs(dx))
            cx = x + dx * span
            pen.pieslice((cx - r, y - r, cx + r, y + r), 180, 360, fill=255)
        pen.rounded_rectangle((x - span, y - 0.06 * span, x + span, y + 0.06 * span), 0.06 * span, fill=255)
    soft = layer.filter(ImageFilter.GaussianBlur(height / 170))
    return np.asarray(soft, np.float32) / 255.0


def cloud_place(stage: Stage) -> tuple[float, float]:
    """A place for a cloud, in pixels, beside the sun or moon if one is found soon."""
    canvas, light, rng = stage.canvas, stage.light, stage.rng
    height, width, _ = canvas.image.shape
    for _ in range(6):
        x, y = rng.random() * width, rng.uniform(0.08, 0.62) * light.horizon * height
        if abs(x / height - light.x) > 0.24 or not -0.05 < y / height - light.y < 0.14:
            break
    return x, y


def paint_clouds(stage: Stage) -> None:
    canvas, palette, light = stage.canvas, stage.palette, stage.light
    rows = canvas.rows(0, light.horizon)
    mask = cloud_mask(stage)[rows]
    foot = np.roll(mask, -canvas.image.shape[0] // 40, axis=0)  # where a cloud ends just below, it is in its own shade
    color = mix(palette.cloud * 0.86, palette.cloud, foot)
    canvas.blend(rows, color, 0.92 * mask)
