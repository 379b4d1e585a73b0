"""The judge's numbers: what counts as asked, as found, as like the world and as varied."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from training import measures
from training.judge import Judge, mirrored, seen
from training.measures import adherence, diversity, frechet_distance, is_asked
from training.scenes import ATTRIBUTES, Scene

SCENE = Scene(
    time="night",
    trees="pines",
    tree_count=2,
    tree_place="left",
    cabin="red",
    cabin_place="right",
)


def test_only_what_is_there_is_asked_for() -> None:
    asked = {name for name in ATTRIBUTES if is_asked(SCENE, name)}
    assert asked == {"time", "ground", "back", "trees", "tree_count", "tree_place", "cabin", "cabin_place"}
    assert not is_asked(replace(SCENE, tree_count="many"), "tree_count")


def test_adherence_counts_what_is_found_of_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [SCENE, replace(SCENE, time="day"), Scene(ground="ocean", back="none")]
    found = torch.tensor([scene.labels() for scene in scenes])
    found[1, 0] = list(ATTRIBUTES["time"]).index("night")
    monkeypatch.setattr(measures, "guesses", lambda judge, pixels: found)
    shares = adherence(Judge(), np.zeros((3, 64, 64, 3), np.uint8), scenes)
    assert shares["time"] == pytest.approx(2 / 3)
    assert shares["cabin"] == 1
    assert np.isnan(shares["boat_color"])
    assert shares["all"] == pytest.approx(17 / 18)


def test_a_mirrored_picture_has_left_and_right_exchanged_and_nothing_else() -> None:
    labels = torch.tensor([SCENE.labels()])
    changed = replace(SCENE, tree_place="right", cabin_place="left")
    assert mirrored(labels).tolist() == [list(changed.labels())]
    assert mirrored(mirrored(labels)).equal(labels)


def test_the_judge_sees_any_size_as_a_square() -> None:
    assert seen(np.zeros((3, 96, 160, 3), np.uint8)).shape == (3, 3, 128, 128)


def test_the_frechet_distance_is_zero_for_the_same_features_and_that_of_the_means_for_shifted_ones() -> None:
    torch.manual_seed(2)
    features = torch.randn(200, 5)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features + 2, features) == pytest.approx(20, abs=1e-4)


def test_diversity_is_the_mean_distance_of_two_seeds() -> None:
    assert diversity(torch.ones(3, 4, 5)) == 0
    assert diversity(torch.tensor([[[0.0], [3.0]], [[0.0], [1.0]]])) == pytest.approx(2)
