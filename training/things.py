"""Names the things in a scene with what belongs to them: how many, of which color, and where."""

from dataclasses import dataclass

from numpy.random import Generator

from training import phrases
from training.scenes import Scene


@dataclass(frozen=True, slots=True)
class Detail:
    """What is said of a thing beside its name, and whether as a list: `cabin, red, left side`."""

    count: bool = True
    color: bool = True
    place: bool = True
    listed: bool = False

    @classmethod
    def random(cls, rng: Generator) -> "Detail":
        return cls(
            bool(rng.random() < 0.93), bool(rng.random() < 0.75), bool(rng.random() < 0.5), bool(rng.random() < 0.07)
        )


def choose(rng: Generator, values: phrases.Phrases) -> str:
    return values[int(rng.integers(len(values)))]


def with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def bare(phrase: str) -> str:
    """A phrase without its article, as a keyword."""
    for article in ("a ", "an ", "the "):
        if phrase.startswith(article):
            return phrase[len(article) :]
    return phrase


def placed(thing: str, place: str, detail: Detail, rng: Generator) -> str:
    return f"{thing} {choose(rng, phrases.PLACES[place])}" if detail.place else thing


def counted(count: int | str, names: tuple[str, str], rng: Generator) -> str:
    """`a tree`, `a pair of trees`, `a forest of trees`."""
    singular, plural = names
    word = choose(rng, phrases.COUNTS[count])
    if word == "a":
        return with_article(singular)
    return f"{word} {singular if count == 1 else plural}".strip()


def trees(scene: Scene, detail: Detail, rng: Generator) -> str:
    kinds = phrases.TREES[scene.trees]
    names = kinds[0] if rng.random() < 0.4 else kinds[int(rng.integers(len(kinds)))]
    count = scene.tree_count
    if not detail.count and count != 1:
        count = "many" if rng.random() < 0.2 else ""
    text = names[1] if count == "" else counted(count, names, rng)
    return placed(text, scene.tree_place, detail, rng)


def cabin(scene: Scene, detail: Detail, rng: Generator) -> str:
    noun = "cabin" if rng.random() < 0.4 else choose(rng, phrases.CABINS)
    if not detail.color:
        return placed(with_article(noun), scene.cabin_place, detail, rng)
    chance = rng.random()
    if chance < 0.15:
        text = f"{with_article(noun)} with {scene.cabin} walls"
    elif detail.listed and detail.place:
        return f"{noun}, {scene.cabin}, {scene.cabin_place} side"
    else:
        text = with_article(f"{scene.cabin} {noun}")
    return placed(text, scene.cabin_place, detail, rng)


def boats(scene: Scene, detail: Detail, rng: Generator) -> str:
    names = phrases.BOATS[0 if rng.random() < 0.4 else int(rng.integers(len(phrases.BOATS)))]
    ending = ""
    if detail.color and rng.random() < 0.2:
        ending = f" with {'a ' if scene.boat_count == 1 else ''}{scene.boat_color} sail" + "s" * (scene.boat_count > 1)
        ending = f" with {scene.boat_color} sails" if rng.random() < 0.7 else ending
    elif detail.color:
        names = (f"{scene.boat_color} {names[0]}", f"{scene.boat_color} {names[1]}")
    text = counted(scene.boat_count, names, rng) if detail.count or scene.boat_count == 1 else names[1]
    return placed(text + ending, scene.boat_place, detail, rng)
