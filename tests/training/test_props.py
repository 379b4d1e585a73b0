"""Things stand where their labels say, as many as they say, and in the color they say: measured on their own layer."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.cabin import draw_cabin
from training.canvas import Canvas
from training.ground import paint_ground
from training.palettes import mixed_palette
from training.pen import Pen
from training.props import prop_layer
from training.scenes import Scene, sample
from training.sky import place_light
from training.stage import Stage
from training.trees import draw_trees

SIZES = [(256, 256), (384, 256), (256, 384)]
KINDS = {
    "boats": {"boat_count": 0, "boat_color": "none", "boat_place": "none"},
    "cabin": {"cabin": "none", "cabin_place": "none"},
    "trees": {"trees": "none", "tree_count": 0, "tree_place": "none"},
}
PLACE_OF = {"boats": "boat_place", "cabin": "cabin_place", "trees": "tree_place"}


def staged(scene: Scene, seed: int, size: tuple[int, int]) -> Stage:
    rng = np.random.default_rng(seed)
    canvas = Canvas.blank(*size)
    return Stage(canvas, mixed_palette(scene.time, scene.weather, rng), place_light(canvas, scene, rng), rng)


def layer(scene: Scene, seed: int, size: tuple[int, int] = (256, 256)) -> np.ndarray:
    """The layer of things alone: H W 4."""
    stage = staged(scene, seed, size)
    return prop_layer(stage, scene, paint_ground(stage, scene))


def solid(pixels: np.ndarray) -> np.ndarray:
    """Where things are, without their shadows and reflections: H W."""
    return pixels[..., 3] > 0.5


def pieces(mask: np.ndarray) -> int:
    """How many connected shapes of more than 40 pixels a mask has."""
    image = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).copy()
    sizes: list[int] = []
    while (rest := np.argwhere(np.asarray(image) == 255)).size:
        y, x = rest[0]
        ImageDraw.floodfill(image, (int(x), int(y)), 0)
        sizes.append(len(rest) - int((np.asarray(image) == 255).sum()))
        assert sizes[-1] > 0
    return sum(size > 40 for size in sizes)


def third(mask: np.ndarray) -> str:
    columns = np.flatnonzero(mask.any(axis=0))
    middle = (columns[0] + columns[-1] + 1) / 2 / mask.shape[1]
    return ("left", "centre", "right")[int(3 * middle)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_things_are_in_the_third_that_their_label_says(kind: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    seen = 0
    while seen < 40:
        scene = sample(rng)
        if (place := getattr(scene, PLACE_OF[kind])) == "none":
            continue
        others = {name: value for other in KINDS if other != kind for name, value in KINDS[other].items()}
        mask = solid(layer(replace(scene, **others), seen, size))
        assert third(mask) == place, (scene, seen)
        seen += 1


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("place", ["left", "centre", "right"])
def test_there_are_as_many_boats_and_trees_as_the_scene_counts(count: int, place: str) -> None:
    for seed in range(6):
        boats = Scene(ground="ocean", boat_count=count, boat_color="red", boat_place=place)
        assert pieces(solid(layer(boats, seed, (512, 256)))) == count
        trees = Scene(ground="meadow", trees="pines", tree_count=count, tree_place=place)
        assert pieces(solid(layer(trees, seed, (512, 256)))) == count


def test_things_are_large_enough_to_be_learned() -> None:
    for seed in range(10):
        boat = solid(layer(Scene(boat_count=4, boat_color="red", boat_place="left"), seed))
        assert np.ptp(np.flatnonzero(boat.any(axis=1))) > 0.14 * 256
        cabin = solid(layer(Scene(ground="meadow", cabin="red", cabin_place="right"), seed))
        assert 0.2 * 256 < np.ptp(np.flatnonzero(cabin.any(axis=0))) < 0.36 * 256
        tree = solid(layer(Scene(ground="meadow", trees="pines", tree_count=1, tree_place="left"), seed))
        assert 0.3 * 256 < np.ptp(np.flatnonzero(tree.any(axis=1))) < 0.52 * 256


@pytest.mark.parametrize("time", ["day", "sunset", "dawn", "night"])
@pytest.mark.parametrize(("color", "order"), [("red", (0, 1)), ("blue", (2, 0)), ("yellow", (1, 2))])
def test_colors_are_plain_to_see_at_any_time(time: str, color: str, order: tuple[int, int]) -> None:
    more, less = order
    for scene in (
        Scene(time=time, ground="meadow", cabin=color, cabin_place="left"),
        Scene(time=time, ground="ocean", boat_count=1, boat_color=color, boat_place="right"),
    ):
        painted = layer(scene, 3)
        excess = (painted[..., more] - painted[..., less])[solid(painted)]
        assert (excess > 0.2).mean() > 0.15


def test_boats_float_on_water_that_no_bank_covers() -> None:
    rng = np.random.default_rng(8)
    seen = 0
    while seen < 30:
        scene = sample(rng)
        if scene.ground != "lake" or not scene.boat_count:
            continue
        stage = staged(scene, seen, (256, 256))
        bank = paint_ground(stage, scene)
        boats = replace(scene, **KINDS["cabin"], **KINDS["trees"])
        mask = solid(prop_layer(stage, boats, bank))
        lowest = 1 - mask[::-1].argmax(axis=0) / 256
        afloat = mask.any(axis=0)
        assert np.all(lowest[afloat] < bank.edge[afloat] + 0.005)
        assert np.all(lowest[afloat].max() > stage.light.horizon)
        seen += 1


def test_trees_leave_most_of_a_cabin_to_see() -> None:
    rng = np.random.default_rng(9)
    hidden: list[float] = []
    while len(hidden) < 60:
        scene = sample(rng)
        if scene.cabin == "none" or scene.trees == "none":
            continue
        stage = staged(scene, len(hidden), (256, 256))
        bank = paint_ground(stage, scene)
        pens = [Pen.on(stage.canvas, stage.palette) for _ in range(2)]
        draw_cabin(pens[0], stage, scene, bank, {scene.tree_place})
        draw_trees(pens[1], stage, scene, bank, {scene.cabin_place})
        cabin, trees = (solid(pen.painted()) for pen in pens)
        hidden.append(float(trees[cabin].mean()))
    assert np.mean(hidden) < 0.12
    assert np.max(hidden) < 0.6
