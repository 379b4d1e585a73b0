"""The renderer: one (scene, size, seed) is one picture, and a scene's attributes can be seen."""

from dataclasses import replace

import numpy as np
import pytest

from training.dataset import scene_of
from training.scenes import (
    ATTRIBUTES,
    BACKS,
    GROUNDS,
    HELD_OUT,
    TIMES,
    Scene,
    draw,
    is_heldout,
    sample,
    sample_any,
    sample_heldout,
)

SIZE = (96, 64)
FULL = Scene(
    clouds=True,
    trees="pines",
    tree_count=3,
    tree_place="left",
    cabin="red",
    cabin_place="centre",
    boat_count=2,
    boat_color="yellow",
    boat_place="right",
)


def picture(scene: Scene, seed: int = 5) -> np.ndarray:
    return draw(scene, SIZE, np.random.default_rng(seed)).astype(float)


def test_the_same_seed_draws_the_same_picture_and_another_seed_another() -> None:
    for weather in ATTRIBUTES["weather"]:
        scene = replace(FULL, weather=weather)
        assert np.array_equal(picture(scene), picture(scene))
        assert not np.array_equal(picture(scene), picture(scene, seed=6))


@pytest.mark.parametrize("size", [(80, 48), (48, 80), (256, 384), (384, 256), (768, 512), (64, 64)])
def test_a_picture_has_the_size_asked_for(size: tuple[int, int]) -> None:
    assert draw(FULL, size, np.random.default_rng(0)).shape == (size[1], size[0], 3)


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
        {"weather": "fog"},
        {"weather": "rain"},
        {"weather": "snowfall"},
        {"trees": "pines", "tree_count": 1, "tree_place": "left"},
        {"trees": "autumn", "tree_count": "many", "tree_place": "right"},
        {"cabin": "blue", "cabin_place": "centre"},
        {"boat_count": 1, "boat_color": "red", "boat_place": "centre"},
    ],
)
def test_each_attribute_changes_the_picture(other: dict[str, object]) -> None:
    changed = np.abs(picture(replace(Scene(), **other)) - picture(Scene())).max(axis=-1) > 25
    assert changed.mean() > 0.003


def test_rain_makes_the_sky_grey_and_fog_hides_the_mountains() -> None:
    clear, rain = picture(Scene(ground="meadow")), picture(Scene(ground="meadow", weather="rain"))
    assert np.ptp(rain[:16].mean(axis=(0, 1))) < 0.6 * np.ptp(clear[:16].mean(axis=(0, 1)))
    fog = picture(Scene(ground="meadow", weather="fog"))
    assert fog[20:34].std(axis=1).mean() < 0.6 * clear[20:34].std(axis=1).mean()


def test_samples_make_sense_and_cover_the_world() -> None:
    rng = np.random.default_rng(1)
    scenes = [sample(rng) for _ in range(3000)]
    for name, values in ATTRIBUTES.items():
        assert {getattr(s, name) for s in scenes} == set(values), name
    for s in scenes:
        assert s.ground in ("lake", "ocean") or not s.boat_count
        assert s.ground in ("lake", "meadow", "snow") or s.trees == "none"
        assert s.ground != "ocean" or s.cabin == "none"
        assert (s.trees == "none") == (s.tree_count == 0) == (s.tree_place == "none")
        assert (s.cabin == "none") == (s.cabin_place == "none")
        assert (s.boat_count == 0) == (s.boat_color == "none") == (s.boat_place == "none")
        taken = [place for place in (s.tree_place, s.cabin_place, s.boat_place) if place != "none"]
        assert len(set(taken)) == len(taken)


def test_things_are_as_frequent_as_meant() -> None:
    rng = np.random.default_rng(3)
    scenes = [sample(rng) for _ in range(4000)]
    wet = [s for s in scenes if s.ground in ("lake", "ocean")]
    woods = [s for s in scenes if s.trees != "none"]
    assert np.mean([s.weather == "none" for s in scenes]) == pytest.approx(0.73, abs=0.04)
    assert np.mean([s.boat_count > 0 for s in wet]) == pytest.approx(0.4, abs=0.04)
    assert np.mean([s.tree_count == "many" for s in woods]) == pytest.approx(0.5, abs=0.05)
    for count in (1, 2, 3, 4):
        assert np.mean([s.boat_count == count for s in wet if s.boat_count]) == pytest.approx(0.25, abs=0.06)


def test_held_out_pairs_are_never_sampled_for_training_and_always_for_their_own_test() -> None:
    rng = np.random.default_rng(2)
    assert not any(is_heldout(sample(rng)) for _ in range(3000))
    assert all(is_heldout(sample_heldout(rng)) for _ in range(100))
    assert is_heldout(Scene(ground="snow", cabin="red", cabin_place="left"))
    assert not is_heldout(Scene(ground="snow", cabin="blue", cabin_place="left"))


def test_every_held_out_pair_can_be_drawn_and_its_halves_are_common() -> None:
    rng = np.random.default_rng(4)
    scenes = [sample_any(rng) for _ in range(8000)]
    assert 0.03 < np.mean([is_heldout(s) for s in scenes]) < 0.06
    for pair in HELD_OUT:
        assert any(all(getattr(s, name) == value for name, value in pair) for s in scenes), pair
        for name, value in pair:
            assert sum(getattr(s, name) == value for s in scenes if not is_heldout(s)) > 150, (name, value)


def test_labels_are_the_scene() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        scene = sample(rng)
        assert scene_of(np.asarray(scene.labels(), np.uint8)) == scene


def test_the_names_of_the_values_are_spelled_as_the_constants_are() -> None:
    assert (ATTRIBUTES["time"], ATTRIBUTES["ground"], ATTRIBUTES["back"]) == (TIMES, GROUNDS, BACKS)
