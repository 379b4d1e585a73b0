"""The world that flux-tiny knows: what can be in a landscape, and how to draw one.

A `Scene` is the ground truth of a picture; `draw` paints it, with every placement and tint taken from a generator,
so one scene has endlessly many pictures, and one (scene, size, seed) has exactly one.
"""

from dataclasses import dataclass, fields
from typing import TypeVar

from numpy.random import Generator

from training.boats import BOAT_COLORS
from training.cabin import CABINS
from training.canvas import Canvas, Pixels
from training.ground import paint_ground
from training.horizon import paint_back
from training.palettes import mixed_palette
from training.places import PLACES
from training.props import paint_props
from training.sky import paint_sky, place_light
from training.stage import Stage
from training.weather import WEATHERS, paint_haze, paint_weather

Value = TypeVar("Value")

TIMES = ("day", "sunset", "dawn", "night")
GROUNDS = ("lake", "ocean", "meadow", "desert", "snow")
BACKS = ("mountains", "snowy mountains", "hills", "none")
TREES = ("none", "pines", "autumn")
TREE_COUNTS: tuple[int | str, ...] = (0, 1, 2, 3, 4, "many")
BOAT_COUNTS = (0, 1, 2, 3, 4)
SOILS = ("lake", "meadow", "desert", "snow")
WOODS = ("lake", "meadow", "snow")
WATERS = ("lake", "ocean")


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in a picture. Every field is one attribute that a caption may name and a judge reads off.

    The place of a thing is the third of the picture's width that its middle, or its group's, is in. Things that are
    not there have the count 0 and "none" for all else.
    """

    time: str = "day"
    ground: str = "lake"
    back: str = "mountains"
    clouds: bool = False
    weather: str = "none"
    trees: str = "none"
    tree_count: int | str = 0
    tree_place: str = "none"
    cabin: str = "none"
    cabin_place: str = "none"
    boat_count: int = 0
    boat_color: str = "none"
    boat_place: str = "none"

    def labels(self) -> tuple[int, ...]:
        """The index of each attribute's value in `ATTRIBUTES`, in the order of the fields."""
        return tuple(ATTRIBUTES[f.name].index(getattr(self, f.name)) for f in fields(self))


ATTRIBUTES: dict[str, tuple[object, ...]] = {
    "time": TIMES,
    "ground": GROUNDS,
    "back": BACKS,
    "clouds": (False, True),
    "weather": WEATHERS,
    "trees": TREES,
    "tree_count": TREE_COUNTS,
    "tree_place": PLACES,
    "cabin": CABINS,
    "cabin_place": PLACES,
    "boat_count": BOAT_COUNTS,
    "boat_color": BOAT_COLORS,
    "boat_place": PLACES,
}

HELD_OUT: tuple[tuple[tuple[str, object], tuple[str, object]], ...] = (
    (("cabin", "red"), ("ground", "snow")),
    (("cabin", "blue"), ("weather", "fog")),
    (("cabin", "white"), ("weather", "snowfall")),
    (("boat_color", "yellow"), ("time", "dawn")),
    (("boat_color", "red"), ("weather", "rain")),
    (("weather", "fog"), ("ground", "ocean")),
    (("tree_count", 2), ("weather", "rain")),
    (("tree_count", 3), ("weather", "snowfall")),
)
"""Pairs that no training picture has, though each half is common: what the model must put together by itself."""


def is_heldout(scene: Scene) -> bool:
    return any(all(getattr(scene, name) == value for name, value in pair) for pair in HELD_OUT)


def sample(rng: Generator) -> Scene:
    """A random scene that makes sense and has no held-out pair."""
    while is_heldout(scene := sample_any(rng)):
        pass
    return scene


def sample_heldout(rng: Generator) -> Scene:
    """A random scene with at least one held-out pair."""
    while not is_heldout(scene := sample_any(rng)):
        pass
    return scene


def pick(rng: Generator, values: tuple[Value, ...], weights: tuple[float, ...] | None = None) -> Value:
    shares = weights or (1.0,) * len(values)
    chance = rng.random() * sum(shares)
    for value, share in zip(values, shares, strict=True):
        chance -= share
        if chance < 0:
            return value
    return values[-1]


def sample_any(rng: Generator) -> Scene:
    """A random scene that makes sense: boats are afloat, trees and cabins have soil, and nothing hides another."""
    ground = pick(rng, GROUNDS, (3, 1.9, 2, 1.4, 1.7))
    back = pick(rng, BACKS, (1.2, 1.4, 1.0, 0.8))
    weather = sample_weather(rng, ground, back)
    free = [str(place) for place in rng.permutation(PLACES[1:])]
    values: dict[str, object] = {}
    if ground in WOODS and rng.random() < 0.6:
        values["trees"] = pick(rng, TREES[1:], (1.0, 0.0 if ground == "snow" else 1.0))
        values["tree_count"] = pick(rng, TREE_COUNTS[1:], (1, 1, 1, 1, 4))
        values["tree_place"] = free.pop()
    if ground in SOILS and rng.random() < 0.35:
        values["cabin"], values["cabin_place"] = pick(rng, CABINS[1:]), free.pop()
    if ground in WATERS and rng.random() < 0.4:
        values["boat_count"] = pick(rng, BOAT_COUNTS[1:])
        values["boat_color"], values["boat_place"] = pick(rng, BOAT_COLORS[1:]), free.pop()
    clouds = weather == "rain" or bool(rng.random() < (0.15 if weather == "fog" else 0.42))
    time = pick(rng, TIMES, (1.3, 1, 1, 1))
    return Scene(time, ground, back, clouds, weather, **values)  # type: ignore[arg-type]


def sample_weather(rng: Generator, ground: str, back: str) -> str:
    """Snow falls where it is cold, rain where it is not."""
    cold = 2.6 if ground == "snow" else 1.0 if "mountains" in back and ground != "ocean" else 0.25
    rain = 0.0 if ground == "snow" else 0.4 if ground == "desert" else 1.3
    return pick(rng, WEATHERS, (7.2, 0.45 if ground == "ocean" else 1.0, rain, 0.0 if ground == "desert" else cold))


def draw(scene: Scene, size: tuple[int, int], rng: Generator) -> Pixels:
    """Paints the scene at size (width, height) -> uint8 pixels, H W 3."""
    canvas = Canvas.blank(*size)
    palette = mixed_palette(scene.time, scene.weather, rng)
    stage = Stage(canvas, palette, place_light(canvas, scene, rng), rng)
    paint_sky(stage, scene)
    paint_back(stage, scene)
    paint_haze(stage, scene, 0.9)
    bank = paint_ground(stage, scene)
    paint_haze(stage, scene, 0.6)
    paint_props(stage, scene, bank)
    paint_haze(stage, scene, 0.22)
    paint_weather(stage, scene)
    return canvas.pixels()
