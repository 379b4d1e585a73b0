"""Captions say only what is in the scene; full captions say all of it."""

import numpy as np

from training.captions import WORDS, caption, full_caption
from training.scenes import Scene, sample


def phrases(name: str, value: object) -> tuple[str, ...]:
    bare = (phrase.removeprefix("a ").removeprefix("an ").removeprefix("the ") for phrase in WORDS[name][value])
    return tuple(bare)


def says(text: str, name: str, value: object) -> bool:
    return any(phrase.lower() in text.lower() for phrase in phrases(name, value))


def test_a_full_caption_names_every_attribute_that_can_be_seen() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scene = sample(rng)
        text = full_caption(scene, rng)
        assert all(
            says(text, name, value) for name in WORDS if (value := getattr(scene, name)) not in (False, "none")
        ), (text, scene)


def test_captions_never_name_a_thing_that_is_not_there() -> None:
    rng = np.random.default_rng(1)
    scene = Scene(time="day", ground="meadow", back="none", trees="none")
    for _ in range(300):
        text = caption(scene, rng)
        assert text.strip()
        assert not any(says(text, *absent) for absent in (("boat", True), ("cabin", True), ("trees", "pines")))


def test_captions_differ_and_leave_things_out() -> None:
    rng = np.random.default_rng(2)
    scene = Scene(time="night", ground="lake", back="snowy mountains", trees="pines", boat=True)
    texts = [caption(scene, rng) for _ in range(200)]
    assert len(set(texts)) > 150
    assert 0 < sum(says(text, "time", "night") for text in texts) < len(texts)
    assert any(text.count(",") >= 3 for text in texts)
