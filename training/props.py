"""Things in a landscape: pines, autumn trees, a cabin and a sailing boat. Drawn twice as large, then halved."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from training.canvas import Color
from training.ground import Bank
from training.palettes import Palette
from training.stage import Stage

PINES: tuple[Color, ...] = ((0.07, 0.30, 0.18), (0.10, 0.36, 0.20), (0.06, 0.26, 0.20))
LEAVES: tuple[Color, ...] = ((0.92, 0.46, 0.10), (0.85, 0.32, 0.10), (0.95, 0.62, 0.16))
TRUNK: Color = (0.30, 0.19, 0.12)
WALL: Color = (0.52, 0.30, 0.18)
ROOF: Color = (0.66, 0.18, 0.15)
SAIL: Color = (0.98, 0.97, 0.94)
HULL: Color = (0.45, 0.22, 0.13)
WINDOW = (255, 222, 120, 255)

Point = tuple[float, float]
Ink = tuple[int, int, int, int]


class Furniture(Protocol):
    """The part of a scene that stands or floats in it."""

    @property
    def time(self) -> str: ...
    @property
    def ground(self) -> str: ...
    @property
    def trees(self) -> str: ...
    @property
    def cabin(self) -> bool: ...
    @property
    def boat(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Pen:
    """Draws in heights of the picture onto a transparent layer of twice its resolution."""

    draw: ImageDraw.ImageDraw
    scale: float
    palette: Palette

    def ink(self, color: Color, shade: float = 1.0, alpha: int = 255) -> Ink:
        red, green, blue = (int(255 * min(1.0, max(0.0, c * shade))) for c in self.palette.lit(color))
        return red, green, blue, alpha

    def polygon(self, points: list[Point], ink: Ink) -> None:
        self.draw.polygon([(x * self.scale, y * self.scale) for x, y in points], fill=ink)

    def disc(self, x: float, y: float, r: float, ink: Ink) -> None:
        s = self.scale
        self.draw.ellipse(((x - r) * s, (y - r) * s, (x + r) * s, (y + r) * s), fill=ink)

    def box(self, left: float, top: float, right: float, bottom: float, ink: Ink) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], ink)


def paint_props(stage: Stage, scene: Furniture, bank: Bank) -> None:
    if scene.trees == "none" and not scene.cabin and not scene.boat:
        return
    canvas, rng = stage.canvas, stage.rng
    height, width, _ = canvas.image.shape
    layer = Image.new("RGBA", (2 * width, 2 * height))
    pen = Pen(ImageDraw.Draw(layer), 2.0 * height, stage.palette)
    if scene.boat:
        draw_boat(pen, stage, bank)
    if scene.cabin:
        draw_cabin(pen, scene, bank, rng)
    if scene.trees != "none":
        draw_trees(pen, scene, bank, stage.light.side(canvas.aspect / 2), rng)
    flat = np.asarray(layer.reduce(2), np.float32) / 255.0
    canvas.blend(slice(None), flat[..., :3], flat[..., 3])


def draw_trees(pen: Pen, scene: Furniture, bank: Bank, side: float, rng: Generator) -> None:
    """One group, from the farthest and smallest tree to the nearest."""
    count = int(rng.integers(3, 7))
    span = 0.5 * (bank.right - bank.left)
    start = rng.uniform(bank.left, bank.right - span)
    for share in np.sort(rng.random(count)):
        x = float(start + rng.random() * span)
        foot = float(bank.far + share * (bank.near - bank.far))
        tall = float((0.17 + 0.16 * share) * rng.uniform(0.85, 1.15))
        if scene.trees == "pines":
            draw_pine(pen, (x, foot), tall, side, rng, snowy=scene.ground == "snow")
        else:
            draw_autumn_tree(pen, (x, foot), tall, side, rng)


def draw_pine(pen: Pen, foot: Point, tall: float, side: float, rng: Generator, *, snowy: bool) -> None:
    (x, y), color = foot, PINES[int(rng.integers(len(PINES)))]
    pen.box(x - 0.035 * tall, y - 0.16 * tall, x + 0.035 * tall, y, pen.ink(TRUNK))
    for tier in range(4):
        top, bottom = y - tall * (1 - 0.20 * tier), y - tall * (0.60 - 0.16 * tier)
        half = tall * (0.13 + 0.055 * tier)
        pen.polygon([(x, top), (x + half, bottom), (x - half, bottom)], pen.ink(color, 0.75))
        pen.polygon([(x, top), (x + side * half, bottom), (x, bottom)], pen.ink(color, 1.2))
        if snowy:
            cap = 0.38
            drop = top + cap * (bottom - top)
            pen.polygon([(x, top), (x + cap * half, drop), (x - cap * half, drop)], pen.ink((0.95, 0.97, 1.0)))


def draw_autumn_tree(pen: Pen, foot: Point, tall: float, side: float, rng: Generator) -> None:
    (x, y), color = foot, LEAVES[int(rng.integers(len(LEAVES)))]
    pen.box(x - 0.04 * tall, y - 0.5 * tall, x + 0.04 * tall, y, pen.ink(TRUNK))
    blobs = [(rng.uniform(-0.2, 0.2), rng.uniform(-0.14, 0.14), rng.uniform(0.17, 0.23)) for _ in range(6)]
    for dx, dy, r in blobs:
        pen.disc(x + dx * tall, y - (0.68 - dy) * tall, r * tall, pen.ink(color, 0.78))
    for dx, dy, r in blobs:
        pen.disc(x + (dx + 0.05 * side) * tall, y - (0.72 - dy) * tall, 0.68 * r * tall, pen.ink(color, 1.08))


def draw_cabin(pen: Pen, scene: Furniture, bank: Bank, rng: Generator) -> None:
    wide = float(rng.uniform(0.13, 0.19))
    x = float(rng.uniform(bank.left + 0.02, max(bank.left + 0.03, bank.right - wide)))
    y = float(bank.far + rng.uniform(0.1, 0.6) * (bank.near - bank.far))
    wall, roof = 0.55 * wide, 0.48 * wide
    pen.box(x, y - wall, x + wide, y, pen.ink(WALL))
    pen.box(x + 0.6 * wide, y - wall, x + wide, y, pen.ink(WALL, 0.78))
    cover = (0.95, 0.97, 1.0) if scene.ground == "snow" else ROOF
    peak = (x + 0.5 * wide, y - wall - roof)
    pen.polygon([(x - 0.12 * wide, y - wall), peak, (x + 1.12 * wide, y - wall)], pen.ink(cover))
    glow = WINDOW if scene.time in ("night", "sunset") else pen.ink((0.98, 0.86, 0.52))
    pen.box(x + 0.14 * wide, y - 0.42 * wide, x + 0.38 * wide, y - 0.18 * wide, glow)
    pen.box(x + 0.66 * wide, y - 0.38 * wide, x + 0.84 * wide, y, pen.ink(TRUNK))


def draw_boat(pen: Pen, stage: Stage, bank: Bank) -> None:
    """Afloat, on the side of the lake that the bank leaves free."""
    aspect, rng = stage.canvas.aspect, stage.rng
    tall = float(rng.uniform(0.17, 0.25))
    left, right = 0.14 * aspect, 0.86 * aspect
    if bank.right > bank.left and bank.near < 1 and bank.right - bank.left < 0.7 * aspect:
        left, right = (0.55 * aspect, right) if bank.left < 0.3 * aspect else (left, 0.45 * aspect)
    x = float(rng.uniform(left, right))
    y = stage.light.horizon + float(rng.uniform(0.09, 0.20))
    for way, alpha in ((-0.5, 90), (1.0, 255)):  # its reflection first, flatter and faint
        hull, sail = pen.ink(HULL, alpha=alpha), pen.ink(SAIL, alpha=alpha)
        shade = pen.ink(SAIL, 0.84, alpha)
        deck = y - way * 0.10 * tall
        pen.polygon(
            [(x - 0.34 * tall, deck), (x + 0.36 * tall, deck), (x + 0.22 * tall, y), (x - 0.24 * tall, y)], hull
        )
        boom, mast = y - way * 0.16 * tall, y - way * tall
        pen.polygon([(x - 0.02 * tall, mast), (x - 0.02 * tall, boom), (x - 0.30 * tall, boom)], shade)
        pen.polygon([(x + 0.02 * tall, mast), (x + 0.02 * tall, boom), (x + 0.36 * tall, boom)], sail)
