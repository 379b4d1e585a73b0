"""Pines and autumn trees: one, a few side by side, or a dense group."""

from typing import Protocol

import numpy as np

from training.canvas import Color
from training.ground import Bank
from training.pen import Pen, Point
from training.places import middle, row
from training.stage import Stage

PINES: tuple[Color, ...] = ((0.08, 0.38, 0.22), (0.11, 0.44, 0.24), (0.06, 0.33, 0.24))
LEAVES: tuple[Color, ...] = ((0.95, 0.50, 0.08), (0.90, 0.33, 0.09), (0.98, 0.66, 0.14))
TRUNK: Color = (0.34, 0.21, 0.13)
SNOW: Color = (0.95, 0.97, 1.0)
HEIGHTS = {1: (0.34, 0.48), 2: (0.30, 0.40), 3: (0.26, 0.34), 4: (0.24, 0.30)}
"""How tall trees are, by their count, in widths or heights of the picture, whichever is less."""
HALF_WIDTH = {"pines": 0.235, "autumn": 0.29}


class Grove(Protocol):
    """The part of a scene that trees are drawn from."""

    @property
    def ground(self) -> str: ...
    @property
    def weather(self) -> str: ...
    @property
    def trees(self) -> str: ...
    @property
    def tree_count(self) -> int | str: ...
    @property
    def tree_place(self) -> str: ...


def draw_trees(pen: Pen, stage: Stage, scene: Grove, bank: Bank, taken: set[str]) -> None:
    """Draws the farthest tree first."""
    trees = (group if scene.tree_count == "many" else few)(stage, scene, bank, taken)
    trees.sort(key=lambda tree: tree[0][1])
    for (x, y), tall in trees:
        if scene.trees == "pines":
            snowy = scene.ground == "snow" or scene.weather == "snowfall"
            draw_pine(pen, (x, y), tall, stage, snowy=snowy)
        else:
            draw_autumn_tree(pen, (x, y), tall, stage)


def few(stage: Stage, scene: Grove, bank: Bank, taken: set[str]) -> list[tuple[Point, float]]:
    """Trees that can be counted: (foot, height) of each."""
    canvas, rng = stage.canvas, stage.rng
    count = int(scene.tree_count)
    low, high = HEIGHTS[count]
    tall = [float(rng.uniform(low, high)) * canvas.unit for _ in range(count)]
    places = row(scene.tree_place, [HALF_WIDTH[scene.trees] * t for t in tall], canvas.aspect, rng, taken)
    first = int(rng.integers(2))
    depths = [0.35 + 0.45 * ((k + first) % 2) + rng.uniform(-0.12, 0.12) for k in range(count)]
    return [((x, bank.foot(x, d)), t) for x, d, t in zip(places, depths, tall, strict=True)]


def group(stage: Stage, scene: Grove, bank: Bank, taken: set[str]) -> list[tuple[Point, float]]:
    """Many trees: more than one counts at a glance, some behind others."""
    canvas, rng = stage.canvas, stage.rng
    count = int(rng.integers(6, 10))
    center = middle(scene.tree_place, canvas.aspect, rng, taken)
    reach = (0.13 if taken else 0.18) * max(canvas.unit, 0.8 * canvas.aspect)
    shares = np.linspace(-1, 1, count) + np.r_[0.0, rng.uniform(-0.1, 0.1, count - 2), 0.0]
    trees: list[tuple[Point, float]] = []
    for share in shares:
        x, depth = float(center + share * reach), float(rng.random())
        tall = (0.20 + 0.12 * depth) * float(rng.uniform(0.88, 1.15)) * canvas.unit
        trees.append(((x, bank.foot(x, depth)), tall))
    return trees


def draw_shadow(pen: Pen, foot: Point, wide: float) -> None:
    pen.under().oval(foot[0], foot[1], (wide, 0.16 * wide), (0, 0, 0, 56))


def draw_pine(pen: Pen, foot: Point, tall: float, stage: Stage, *, snowy: bool) -> None:
    rng, (x, y) = stage.rng, foot
    color, side = PINES[int(rng.integers(len(PINES)))], stage.light.side(x)
    draw_shadow(pen, foot, 0.20 * tall)
    pen.box(x - 0.035 * tall, y - 0.16 * tall, x + 0.035 * tall, y, pen.ink(TRUNK))
    for tier in range(3, -1, -1):
        top, bottom = y - tall * (1 - 0.19 * tier), y - tall * (0.62 - 0.165 * tier)
        half = tall * (0.115 + 0.04 * tier)
        pen.polygon([(x, top), (x + half, bottom), (x - half, bottom)], pen.ink(color, 0.78))
        pen.polygon([(x, top), (x + side * half, bottom), (x, bottom)], pen.ink(color, 1.25))
        if snowy:
            drop = top + 0.42 * (bottom - top)
            pen.polygon([(x, top), (x + 0.42 * half, drop), (x - 0.42 * half, drop)], pen.ink(SNOW, 0.86))
            pen.polygon([(x, top), (x + side * 0.42 * half, drop), (x, drop)], pen.ink(SNOW))


def draw_autumn_tree(pen: Pen, foot: Point, tall: float, stage: Stage) -> None:
    rng, (x, y) = stage.rng, foot
    color, side = LEAVES[int(rng.integers(len(LEAVES)))], stage.light.side(x)
    draw_shadow(pen, foot, 0.24 * tall)
    pen.polygon([(x - 0.045 * tall, y), (x - 0.02 * tall, y - 0.5 * tall), (x + 0.02 * tall, y - 0.5 * tall),
                 (x + 0.045 * tall, y)], pen.ink(TRUNK))  # fmt: skip
    blobs = [(0.0, 0.80, 0.19), (-0.13, 0.62, 0.165), (0.13, 0.63, 0.165), (0.0, 0.55, 0.18), (0.0, 0.68, 0.2)]
    blobs = [(dx + rng.uniform(-0.025, 0.025), dy, r * rng.uniform(0.93, 1.07)) for dx, dy, r in blobs]
    for shade, size, off in ((0.74, 1.0, 0.0), (0.98, 0.80, 0.035), (1.16, 0.46, 0.07)):
        for dx, dy, r in blobs:
            pen.disc(x + (dx + off * side) * tall, y - (dy + 0.8 * off) * tall, size * r * tall, pen.ink(color, shade))
