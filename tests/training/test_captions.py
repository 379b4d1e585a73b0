"""Captions say only what is in the scene; full captions say all of it."""

import re
from dataclasses import replace

import numpy as np

from training.captions import caption, full_caption
from training.phrases import BACKS, GROUNDS, PLACES, TIMES, WEATHERS
from training.scenes import Scene, sample

COUNT_WORDS = {1: ("a", "an", "one", "single", "lone"), 2: ("two", "pair"), 3: ("three",), 4: ("four",)}
BOAT = re.compile(r"\b(boats?|sailboats?|ships?)\b")
CABIN = re.compile(r"\b(cabin|house|hut|cottage)\b")
TREE = re.compile(r"\b(trees?|pines?|conifers?)\b")


def thing_phrase(text: str, thing: re.Pattern[str]) -> str:
    """The words around a thing: from the `,`, ` and ` or `with` before it to the one after."""
    parts = re.split(r", | and | of (?=a |an |one |two |three |four )", text)
    return next(part for part in parts if thing.search(part))


def test_a_full_caption_names_everything_that_is_seen() -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        scene = sample(rng)
        text = full_caption(scene, rng)
        assert any(phrase in text for phrase in TIMES[scene.time]), text
        assert any(phrase in text for phrase in GROUNDS[scene.ground]), text
        assert scene.back == "none" or any(phrase in text for phrase in BACKS[scene.back]), text
        assert scene.weather == "none" or any(phrase in text for phrase in WEATHERS[scene.weather]), text
        assert not scene.clouds or "cloud" in text, text
        if scene.boat_count:
            assert all((BOAT.search(text), scene.boat_color in text, place_said(text, scene.boat_place))), text
            assert any(re.search(rf"\b{word}\b", text) for word in COUNT_WORDS[scene.boat_count]), text
        if scene.cabin != "none":
            assert all((CABIN.search(text), scene.cabin in text, place_said(text, scene.cabin_place))), text
        if scene.trees != "none":
            assert all((TREE.search(text), place_said(text, scene.tree_place))), text
            words = COUNT_WORDS.get(scene.tree_count, ("",))
            assert any(re.search(rf"\b{word}\b", text) for word in words), text


def place_said(text: str, place: str) -> bool:
    return any(phrase in text for phrase in PLACES[place])


def test_captions_never_name_a_thing_that_is_not_there() -> None:
    rng = np.random.default_rng(1)
    scene = Scene(time="day", ground="meadow", back="none")
    for _ in range(1000):
        text = caption(scene, rng)
        assert text.strip()
        for thing in (BOAT, CABIN, TREE):
            assert all(text[: found.start()].endswith("no ") for found in thing.finditer(text)), text


def test_colors_counts_and_places_in_a_caption_are_true() -> None:
    rng = np.random.default_rng(2)
    wrong_colors = re.compile(r"\b(red|white|yellow|green|brown) (\w+ )?(boats?|sailboats?|ships?)\b")
    wrong_counts = re.compile(r"\b(two|three|four|pair of|one|single|lone)\b")
    scene = Scene(ground="ocean", back="none", boat_count=3, boat_color="blue", boat_place="left")
    texts = [caption(scene, rng).lower() for _ in range(1500)]
    for text in texts:
        assert not wrong_colors.search(text), text
        assert set(wrong_counts.findall(text)) <= {"three"}, text
        assert not any(place_said(text, place) for place in ("centre", "right")), text
    named = [text for text in texts if BOAT.search(text) and "no boats" not in text]
    assert 0.6 < np.mean(["blue" in thing_phrase(text, BOAT) for text in named]) < 0.9
    assert 0.35 < np.mean([place_said(text, "left") for text in named]) < 0.6
    assert np.mean(["three" in text for text in named]) > 0.85


def test_there_are_many_phrasings_of_one_scene_and_of_all() -> None:
    rng = np.random.default_rng(3)
    scene = Scene(time="night", ground="lake", back="hills", trees="pines", tree_count=2, tree_place="left")
    assert len({caption(scene, rng) for _ in range(400)}) > 300
    plain = Scene(time="sunset", ground="ocean", back="none")
    assert len({caption(plain, rng) for _ in range(3000)}) > 200
    texts = [caption(sample(rng), rng) for _ in range(4000)]
    assert len(set(texts)) > 3200
    lengths = [len(text.split()) for text in texts]
    assert max(lengths) <= 60
    assert min(lengths) == 1


def test_what_people_type_is_in_the_distribution() -> None:
    rng = np.random.default_rng(4)
    lake = Scene(time="sunset", ground="lake", back="mountains")
    boat = replace(lake, boat_count=1, boat_color="red", boat_place="left")
    cabin = Scene(time="night", ground="snow", back="none", cabin="brown", cabin_place="left")
    for scene, prompt in (
        (lake, "a beautiful landscape with mountains and lake"),
        (lake, "mountain lake"),
        (lake, "mountains, lake, sunset"),
        (Scene(time="sunset", ground="ocean"), "sunset over the ocean"),
        (boat, "boat on a lake"),
        (cabin, "a cabin in the snow at night"),
    ):
        assert any(caption(scene, rng).lower() == prompt for _ in range(20_000)), prompt


def test_weather_is_named_and_a_clear_sky_is_not_claimed_in_it() -> None:
    rng = np.random.default_rng(5)
    for weather, words in (("fog", r"fog|mist"), ("rain", r"rain"), ("snowfall", r"snow")):
        texts = [caption(Scene(ground="meadow", weather=weather), rng) for _ in range(400)]
        assert np.mean([bool(re.search(words, text.lower())) for text in texts]) > 0.6
        assert not any(re.search(r"sunny|blue sky|starry|clear sky|cloudless", text) for text in texts)
