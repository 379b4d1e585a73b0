"""Says in words what is in a scene, in as many ways as people prompt: sentences, keywords, and things left unsaid."""

from numpy.random import Generator

from training.scenes import Scene

WORDS: dict[str, dict[object, tuple[str, ...]]] = {
    "time": {
        "day": (
            "in daylight",
            "at noon",
            "by day",
            "on a sunny day",
            "under a blue sky",
            "on a bright day",
            "in the day",
        ),
        "sunset": (
            "at sunset",
            "in the evening",
            "at dusk",
            "in golden hour light",
            "under a red sky",
            "in the sunset",
        ),
        "dawn": ("at dawn", "at sunrise", "in the early morning", "under a pink sky", "at first light", "at daybreak"),
        "night": ("at night", "under the stars", "by moonlight", "under a starry sky", "in the dark", "at midnight"),
    },
    "ground": {
        "lake": ("a lake", "lake", "a calm lake", "a still lake with reflections", "a clear lake"),
        "ocean": ("the ocean", "ocean", "the sea", "a wide sea", "ocean waves", "blue sea water", "the open sea"),
        "meadow": ("a meadow", "meadow", "green grass", "a green field", "grassland", "a grassy plain", "green fields"),
        "desert": ("a desert", "desert", "sand dunes", "desert dunes", "a sandy desert", "golden dunes", "sand"),
        "snow": ("a snow field", "snow", "a snowy field", "white snow", "a winter landscape", "snowy ground", "winter"),
    },
    "back": {
        "mountains": (
            "mountains",
            "rocky mountains",
            "bare mountains",
            "mountains in the background",
            "high mountains",
        ),
        "snowy mountains": (
            "snowy mountains",
            "snow-capped mountains",
            "snow-covered peaks",
            "mountains with snow",
            "snowy peaks",
            "mountains",
        ),
        "hills": ("hills", "green hills", "rolling hills", "soft hills", "low hills in the background", "hills behind"),
        "none": ("a flat horizon", "an open horizon", "an empty horizon", "no mountains"),
    },
    "clouds": {
        True: ("clouds", "white clouds", "a cloudy sky", "clouds in the sky", "some clouds", "puffy clouds"),
        False: ("a clear sky", "no clouds", "a cloudless sky"),
    },
    "trees": {
        "pines": ("pine trees", "pines", "fir trees", "evergreen trees", "some pines", "a few pine trees", "conifers"),
        "autumn": ("autumn trees", "orange trees", "trees in fall colors", "red autumn leaves", "fall trees"),
        "none": ("no trees",),
    },
    "cabin": {True: ("a cabin", "a small house", "a wooden cabin", "a hut", "a cottage", "a log cabin"), False: ()},
    "boat": {True: ("a boat", "a sailing boat", "a sailboat", "a small boat", "a ship with white sails"), False: ()},
}
MENTIONED: dict[str, dict[object, float]] = {
    "time": {"day": 0.55, "sunset": 0.9, "dawn": 0.9, "night": 0.9},
    "ground": dict.fromkeys(("lake", "ocean", "meadow", "desert", "snow"), 0.92),
    "back": {"mountains": 0.9, "snowy mountains": 0.9, "hills": 0.85, "none": 0.25},
    "clouds": {True: 0.75, False: 0.15},
    "trees": {"pines": 0.85, "autumn": 0.9, "none": 0.03},
    "cabin": {True: 0.9, False: 0.0},
    "boat": {True: 0.9, False: 0.0},
}
OPENINGS = ("a landscape with ", "a picture of ", "a painting of ", "a photo of ", "a view of ", "a scene with ", "")
ADJECTIVES = ("beautiful", "peaceful", "quiet", "stunning", "scenic", "serene", "lovely", "calm", "dramatic", "wide")
ENDINGS = ("", "", "", "", ", highly detailed", ", 4k", ", digital art", ", beautiful", ", wide angle", ", masterpiece")


def mentions(scene: Scene, rng: Generator) -> dict[str, str]:
    """The phrase for each attribute that this caption speaks of; at least one."""
    chosen: dict[str, str] = {}
    for name, phrases in WORDS.items():
        value = getattr(scene, name)
        if rng.random() < MENTIONED[name][value]:
            chosen[name] = str(rng.choice(phrases[value]))
    return chosen or {"ground": str(rng.choice(WORDS["ground"][scene.ground]))}


def joined(things: list[str], rng: Generator) -> str:
    """`a, b and c`, or with `with`, as in `a with b and c`."""
    if len(things) < 2:
        return "".join(things)
    if len(things) > 2 and rng.random() < 0.35:
        return f"{things[0]} with {joined(things[1:], rng)}"
    return f"{', '.join(things[:-1])} and {things[-1]}"


def keywords(phrases: dict[str, str], rng: Generator) -> str:
    words = [phrase.removeprefix("a ").removeprefix("an ").removeprefix("the ") for phrase in phrases.values()]
    separator = ", " if rng.random() < 0.7 else " "
    return separator.join(rng.permutation(words).tolist())


def sentence(phrases: dict[str, str], rng: Generator) -> str:
    time = phrases.get("time", "")
    things = rng.permutation([phrase for name, phrase in phrases.items() if name != "time"]).tolist()
    opening = str(rng.choice(OPENINGS))
    if opening and rng.random() < 0.5:
        opening = opening.replace("a ", f"a {rng.choice(ADJECTIVES)} ", 1)
    scene = opening + joined(things, rng)
    if not things:
        return f"{opening}the land {time}"
    return f"{time}, {scene}" if rng.random() < 0.2 and time else f"{scene} {time}".strip()


def caption(scene: Scene, rng: Generator) -> str:
    """One random caption. What it does not mention, the picture may have or not."""
    phrases = mentions(scene, rng)
    text = keywords(phrases, rng) if rng.random() < 0.25 else sentence(phrases, rng)
    text += str(rng.choice(ENDINGS))
    return text[:1].upper() + text[1:] if rng.random() < 0.5 else text


def full_caption(scene: Scene, rng: Generator) -> str:
    """A sentence that names the value of every attribute that can be seen; what prompts are evaluated with."""
    seen = {name: value for name in WORDS if (value := getattr(scene, name)) not in (False, "none")}
    phrases = {name: str(rng.choice(WORDS[name][value][:3])) for name, value in seen.items()}
    return sentence(phrases, rng)
