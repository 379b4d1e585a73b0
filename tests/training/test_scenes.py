"""The renderer: one (scene, size, seed) is one picture, and a scene's attributes can be seen."""

from dataclasses import replace

import numpy as np
import pytest

from training.dataset import scene_of
from training.scenes import BACKS, GROUNDS, TIMES, TREES, Scene, draw, sample

SIZE = (96, 64)


def picture(scene: Scene, seed: int = 5) -> np.ndarray:
    return draw(scene, SIZE, np.random.default_rng(seed)).astype(float)


def test_the_same_seed_draws_the_same_picture_and_another_seed_another() -> None:
    scene = Scene(ground="lake", trees="pines", cabin=True, boat=True, clouds=True)
    assert np.array_equal(picture(scene), picture(scene))
    assert not np.array_equal(picture(scene), picture(scene, seed=6))


def test_a_picture_has_the_size_asked_for() -> None:
    assert draw(Scene(), (80, 48), np.random.default_rng(0)).shape == (48, 80, 3)


def test_night_is_dark_and_day_is_blue() -> None:
    day, night = picture(Scene(time="day")), picture(Scene(time="night"))
    assert night.mean() < 0.4 * day.mean()
    assert day[:10, :, 2].mean() > day[:10, :, 0].mean() + 40


def test_a_sunset_is_red_low_in_the_sky() -> None:
    low = picture(Scene(time="sunset", back="none"))[24:30]
    assert low[..., 0].mean() > low[..., 2].mean() + 60


@pytest.mark.parametrize(("ground", "channel"), [("meadow", 1), ("desert", 0), ("lake", 2), ("ocean", 2), ("snow", 2)])
def test_each_ground_has_its_color(ground: str, channel: int) -> None:
    foot = picture(Scene(ground=ground), seed=3)[48:].mean(axis=(0, 1))
    assert foot.argmax() == channel


@pytest.mark.parametrize(
    "other",
    [
        {"back": "snowy mountains"},
        {"back": "hills"},
        {"back": "none"},
        {"clouds": True},
        {"trees": "pines"},
        {"trees": "autumn"},
        {"cabin": True},
        {"boat": True},
    ],
)
def test_each_attribute_changes_the_picture(other: dict[str, object]) -> None:
    changed = np.abs(picture(replace(Scene(), **other)) - picture(Scene())).max(axis=-1) > 25
    assert changed.mean() > 0.003


def test_samples_make_sense_and_cover_the_world() -> None:
    rng = np.random.default_rng(1)
    scenes = [sample(rng) for _ in range(600)]
    assert {s.time for s in scenes} == set(TIMES)
    assert {s.ground for s in scenes} == set(GROUNDS)
    assert {s.back for s in scenes} == set(BACKS)
    assert {s.trees for s in scenes} == set(TREES)
    assert all(s.ground in ("lake", "ocean") for s in scenes if s.boat)
    assert all(s.ground in ("lake", "meadow", "snow") for s in scenes if s.cabin or s.trees != "none")


def test_labels_are_the_scene() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        scene = sample(rng)
        assert scene_of(np.asarray(scene.labels(), np.uint8)) == scene
