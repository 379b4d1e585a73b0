"""Everything that stands or floats in a landscape, on one layer."""

from typing import Protocol

from training.boats import Fleet, draw_boats
from training.cabin import Homestead, draw_cabin
from training.canvas import Floats
from training.ground import Bank
from training.pen import Pen
from training.stage import Stage
from training.trees import Grove, draw_trees


class Furniture(Fleet, Homestead, Grove, Protocol):
    """The part of a scene that stands or floats in it."""


def prop_layer(stage: Stage, scene: Furniture, bank: Bank) -> Floats:
    """Boats, cabin and trees: H W 4 in [0, 1], alpha last."""
    pen = Pen.on(stage.canvas, stage.palette)
    taken = {scene.boat_place, scene.cabin_place, scene.tree_place} - {"none"}
    if scene.boat_count:
        draw_boats(pen, stage, scene, bank, taken - {scene.boat_place})
    if scene.cabin != "none":
        draw_cabin(pen, stage, scene, bank, taken - {scene.cabin_place})
    if scene.trees != "none":
        draw_trees(pen, stage, scene, bank, taken - {scene.tree_place})
    return pen.painted()


def paint_props(stage: Stage, scene: Furniture, bank: Bank) -> None:
    if scene.trees == "none" and scene.cabin == "none" and not scene.boat_count:
        return
    layer = prop_layer(stage, scene, bank)
    stage.canvas.blend(slice(None), layer[..., :3], layer[..., 3])
