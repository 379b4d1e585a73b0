"""The world that flux-tiny knows: what can be in a landscape, and how to draw one.

A `Scene` is the ground truth of a picture; `draw` paints it, with every placement and tint taken from a generator,
so one scene has endlessly many pictures, and one (scene, size, seed) has exactly one.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.random import Generator

from training.canvas import Canvas, Pixels
from training.ground import paint_ground
from training.horizon import paint_back
from training.palettes import mixed_palette
from training.props import paint_props
from training.sky import paint_sky, place_light
from training.stage import Stage

TIMES = ("day", "sunset", "dawn", "night")
GROUNDS = ("lake", "ocean", "meadow", "desert", "snow")
BACKS = ("mountains", "snowy mountains", "hills", "none")
TREES = ("none", "pines", "autumn")


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in a picture. Every field is one attribute that a caption may name and a judge reads off."""

    time: str = "day"
    ground: str = "lake"
    back: str = "mountains"
    clouds: bool = False
    trees: str = "none"
    cabin: bool = False
    boat: bool = False

    def labels(self) -> tuple[int, ...]:
        """The index of each attribute's value in `ATTRIBUTES`, in the order of the fields."""
        return tuple(ATTRIBUTES[f.name].index(getattr(self, f.name)) for f in fields(self))


ATTRIBUTES: dict[str, tuple[object, ...]] = {
    "time": TIMES,
    "ground": GROUNDS,
    "back": BACKS,
    "clouds": (False, True),
    "trees": TREES,
    "cabin": (False, True),
    "boat": (False, True),
}


def pick(rng: Generator, values: tuple[str, ...], weights: tuple[float, ...]) -> str:
    return str(rng.choice(values, p=np.asarray(weights) / sum(weights)))


def sample(rng: Generator) -> Scene:
    """A random scene that makes sense: boats are afloat, trees and cabins have soil to stand on."""
    ground = pick(rng, GROUNDS, (3, 2, 2, 1.5, 1.5))
    soil = ground in ("lake", "meadow", "snow")
    trees = pick(rng, TREES, (2, 1.3, 1 if ground != "snow" else 0)) if soil else "none"
    return Scene(
        time=pick(rng, TIMES, (1.3, 1, 1, 1)),
        ground=ground,
        back=pick(rng, BACKS, (1.2, 1.4, 1.0, 0.8)),
        clouds=bool(rng.random() < 0.45),
        trees=trees,
        cabin=bool(soil and rng.random() < 0.3),
        boat=bool(ground in ("lake", "ocean") and rng.random() < 0.35),
    )


def draw(scene: Scene, size: tuple[int, int], rng: Generator) -> Pixels:
    """Paints the scene at size (width, height) -> uint8 pixels, H W 3."""
    canvas = Canvas.blank(*size)
    palette = mixed_palette(scene.time, rng)
    stage = Stage(canvas, palette, place_light(canvas, scene, rng), rng)
    paint_sky(stage, scene)
    paint_back(stage, scene)
    paint_props(stage, scene, paint_ground(stage, scene))
    return canvas.pixels()
