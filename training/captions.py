"""Says in words what is in a scene, in as many ways as people prompt: sentences, titles, keywords, gaps."""

from collections.abc import Callable

from numpy.random import Generator

from training import phrases, things
from training.scenes import Scene
from training.things import Detail, bare, choose, with_article

WHOLE = Detail()
THINGS: dict[str, Callable[[Scene, Detail, Generator], str]] = {
    "trees": things.trees,
    "cabin": things.cabin,
    "boats": things.boats,
}


def present(scene: Scene) -> list[str]:
    """The names of the things that stand or float in a scene."""
    there = {"trees": scene.trees != "none", "cabin": scene.cabin != "none", "boats": scene.boat_count > 0}
    return [name for name, seen in there.items() if seen]


def caption(scene: Scene, rng: Generator) -> str:
    """One random caption. What it does not mention, the picture may have or not."""
    chance = rng.random()
    if chance < 0.42:
        text = sentence(scene, rng)
    elif chance < 0.62:
        text = keywords(scene, rng)
    elif chance < 0.82:
        text = located(scene, rng)
    else:
        text = title(scene, rng)
    if rng.random() < 0.25:
        text += choose(rng, phrases.ENDINGS)
    return text[:1].upper() + text[1:] if rng.random() < 0.45 else text


def full_caption(scene: Scene, rng: Generator) -> str:
    """A sentence that names everything that is seen, with color, count (unless many) and place."""
    seen = [THINGS[name](scene, WHOLE, rng) for name in present(scene)]
    seen.append(choose(rng, phrases.GROUNDS[scene.ground][:3]))
    if scene.back != "none":
        seen.append(choose(rng, phrases.BACKS[scene.back][:3]))
    if scene.clouds:
        seen.append(choose(rng, phrases.CLOUDS[True][:3]))
    seen = rng.permutation(seen).tolist()
    text = with_opening(joined(seen, rng), rng, seen) + " " + choose(rng, phrases.TIMES[scene.time][:3])
    return text if scene.weather == "none" else f"{text} {choose(rng, phrases.WEATHERS[scene.weather][:4])}"


def joined(parts: list[str], rng: Generator) -> str:
    """`a, b and c`, or with `with`, as in `a with b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    if len(parts) > 2 and rng.random() < 0.35 and " with " not in parts[0]:
        return f"{parts[0]} with {joined(parts[1:], rng)}"
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def with_opening(text: str, rng: Generator, parts: list[str]) -> str:
    if not parts or rng.random() < 0.35:
        return text
    opening = choose(rng, phrases.OPENINGS)
    if rng.random() < 0.5:
        opening = with_article(f"{choose(rng, phrases.ADJECTIVES)} {bare(opening)}")
    return opening + text


def back_phrase(scene: Scene, rng: Generator) -> str:
    """Mountains may be called just that, whether there is snow on them or not."""
    plain = scene.back == "snowy mountains" and rng.random() < 0.2
    return "mountains" if plain else choose(rng, phrases.BACKS[scene.back])


def time_phrase(scene: Scene, rng: Generator) -> str:
    """What is said of the sun, stars or a colored sky is said in clear weather only."""
    return choose(rng, phrases.TIMES[scene.time][: None if scene.weather == "none" else 3])


def absence(scene: Scene, rng: Generator) -> str:
    """Now and then, a thing that is not there."""
    missing = [name for name in THINGS if name not in present(scene)]
    if not missing or rng.random() > 0.05:
        return ""
    nothing = {"trees": "no trees", "cabin": "no house", "boats": "no boats"}
    if len(missing) == len(THINGS) and scene.ground in ("lake", "ocean", "meadow", "desert") and rng.random() < 0.5:
        return with_article(f"empty {phrases.GROUND_WORDS[scene.ground][0]}")
    return nothing[missing[int(rng.integers(len(missing)))]]


def background(scene: Scene, rng: Generator) -> list[str]:
    """Phrases for the land and the sky, each mentioned or not."""
    parts: list[str] = []
    if rng.random() < 0.9:
        parts.append(choose(rng, phrases.GROUNDS[scene.ground]))
    if rng.random() < (0.15 if scene.back == "none" else 0.85):
        parts.append(back_phrase(scene, rng))
    if rng.random() < (0.65 if scene.clouds else 0.12 if scene.weather == "none" else 0.0):
        parts.append(choose(rng, phrases.CLOUDS[scene.clouds]))
    return parts


def sentence(scene: Scene, rng: Generator) -> str:
    parts = [THINGS[name](scene, Detail.random(rng), rng) for name in present(scene) if rng.random() < 0.92]
    parts += background(scene, rng)
    if nothing := absence(scene, rng):
        parts.append(nothing)
    if not parts:
        parts = [choose(rng, phrases.GROUNDS[scene.ground])]
    text = with_opening(joined(rng.permutation(parts).tolist(), rng), rng, parts)
    time = time_phrase(scene, rng) if rng.random() < (0.55 if scene.time == "day" else 0.88) else ""
    weather = choose(rng, phrases.WEATHERS[scene.weather]) if rng.random() < weather_share(scene) else ""
    if time and rng.random() < 0.18:
        return f"{time}, {text} {weather}".strip()
    return " ".join(part for part in (text, time, weather) if part)


def weather_share(scene: Scene) -> float:
    return 0.03 if scene.weather == "none" else 0.88


def keywords(scene: Scene, rng: Generator) -> str:
    """Words in any order: all, a few, or just one."""
    words = [bare(THINGS[name](scene, Detail.random(rng), rng)) for name in present(scene)]
    words.append(choose(rng, phrases.GROUND_WORDS[scene.ground]))
    if scene.back != "none":
        words.append(bare(back_phrase(scene, rng)))
    if scene.clouds and rng.random() < 0.6:
        words.append(bare(choose(rng, phrases.CLOUDS[True])))
    if rng.random() < (0.5 if scene.time == "day" else 0.9):
        words.append(bare(choose(rng, phrases.TIME_NOUNS[scene.time])))
    if rng.random() < weather_share(scene):
        words.append(choose(rng, phrases.WEATHER_WORDS[scene.weather]))
    words = rng.permutation(words).tolist()
    if rng.random() < 0.4:
        words = words[: 1 if rng.random() < 0.25 else int(rng.integers(2, 4))]
    return (", " if rng.random() < 0.75 else " ").join(words)


def located(scene: Scene, rng: Generator) -> str:
    """`a red cabin in the snow at night`, `two boats on a lake with mountains in the background`."""
    there = present(scene)
    if not there:
        return title(scene, rng)
    name = there[int(rng.integers(len(there)))]
    detail = Detail.random(rng)
    if rng.random() < 0.3:
        detail = Detail(count=detail.count, color=False, place=False)
    text = THINGS[name](scene, detail, rng)
    if rng.random() < 0.25:
        text = bare(text)
    if rng.random() < 0.92:
        text += " " + choose(rng, (phrases.AFLOAT if name == "boats" else phrases.WHERE)[scene.ground])
    if rng.random() < 0.22:
        return text
    others = [THINGS[other](scene, Detail.random(rng), rng) for other in there if other != name and rng.random() < 0.6]
    if scene.back != "none" and rng.random() < 0.45:
        others.append(back_phrase(scene, rng))
    if others:
        text += f" with {joined(others, rng)}" if " with " not in text else f", {joined(others, rng)}"
    if rng.random() < (0.3 if scene.time == "day" else 0.75):
        text += " " + time_phrase(scene, rng)
    if rng.random() < weather_share(scene):
        text += " " + choose(rng, phrases.WEATHERS[scene.weather])
    return text


def title(scene: Scene, rng: Generator) -> str:
    """Short prompts: `sunset over the ocean`, `misty mountain lake`, `a beautiful view with mountains and lake`."""
    chance = rng.random()
    if chance < 0.3 and scene.time != "day":
        noun = choose(rng, phrases.TIME_NOUNS[scene.time])
        over = choose(rng, phrases.GROUNDS[scene.ground][:3] if rng.random() < 0.6 or scene.back == "none" else ("",))
        return described(f"{noun} over {over or back_phrase(scene, rng)}", scene, rng)
    if chance < 0.5 and scene.back != "none":
        words = [bare(back_phrase(scene, rng)), choose(rng, phrases.GROUND_WORDS[scene.ground])]
        noun = choose(rng, ("landscape", "scenery", "scene", "view"))
        return described(
            with_article(f"{choose(rng, phrases.ADJECTIVES)} {noun}") + " with " + " and ".join(words), scene, rng
        )
    noun = choose(rng, phrases.GROUND_WORDS[scene.ground])
    if "mountains" in scene.back and scene.ground in ("lake", "meadow") and rng.random() < 0.6:
        noun = f"mountain {noun}"
    if scene.weather in phrases.WEATHER_ADJECTIVES and rng.random() < 0.7:
        noun = f"{choose(rng, phrases.WEATHER_ADJECTIVES[scene.weather])} {noun}"
    elif rng.random() < 0.4:
        noun = f"{choose(rng, phrases.ADJECTIVES)} {noun}"
    if rng.random() < 0.5 and scene.time != "day":
        return f"{noun} {time_phrase(scene, rng)}"
    return noun


def described(text: str, scene: Scene, rng: Generator) -> str:
    """A title with its weather, where there is any."""
    if rng.random() < weather_share(scene):
        return f"{text} {choose(rng, phrases.WEATHERS[scene.weather])}"
    return text
