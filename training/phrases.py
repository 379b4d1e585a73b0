"""The words that captions are made of: phrases for each value of each attribute."""

Phrases = tuple[str, ...]

TIMES: dict[str, Phrases] = {
    "day": ("in daylight", "at noon", "by day", "on a sunny day", "under a blue sky", "on a bright day", "at midday"),
    "sunset": ("at sunset", "in the evening", "at dusk", "in golden hour light", "under a red sky", "in the sunset"),
    "dawn": ("at dawn", "at sunrise", "in the early morning", "under a pink sky", "at first light", "at daybreak"),
    "night": ("at night", "under the stars", "by moonlight", "under a starry sky", "in the dark", "at midnight"),
}
"""The first three of each hold in any weather."""
TIME_NOUNS: dict[str, Phrases] = {
    "day": ("day", "daytime", "noon", "daylight"),
    "sunset": ("sunset", "evening", "dusk", "golden hour", "a sunset"),
    "dawn": ("dawn", "sunrise", "early morning", "daybreak", "a sunrise"),
    "night": ("night", "moonlight", "midnight", "a night"),
}
GROUNDS: dict[str, Phrases] = {
    "lake": ("a lake", "a calm lake", "a clear lake", "a quiet lake", "a still lake with reflections", "a blue lake"),
    "ocean": ("the ocean", "the sea", "the open sea", "a wide sea", "ocean waves", "a blue ocean"),
    "meadow": ("a meadow", "a green meadow", "a green field", "grassland", "green grass", "green fields"),
    "desert": ("a desert", "sand dunes", "desert dunes", "a sandy desert", "golden dunes", "a sand desert"),
    "snow": ("a snow field", "a snowy field", "snow", "white snow", "a winter landscape", "snowy ground"),
}
GROUND_WORDS: dict[str, Phrases] = {
    "lake": ("lake", "water", "lakeside"),
    "ocean": ("ocean", "sea", "seascape", "waves"),
    "meadow": ("meadow", "grass", "field", "grassland"),
    "desert": ("desert", "dunes", "sand", "sand dunes"),
    "snow": ("snow", "winter", "snow field", "winter landscape"),
}
WHERE: dict[str, Phrases] = {
    "lake": ("by a lake", "at a lake", "next to a lake", "beside a calm lake", "on the shore of a lake"),
    "ocean": ("on the ocean", "at sea", "on the sea", "on the open sea"),
    "meadow": ("in a meadow", "on a green meadow", "in a field", "on the grass", "in a grassy field"),
    "desert": ("in the desert", "in a desert", "among sand dunes", "in the dunes", "on the sand"),
    "snow": ("in the snow", "in a snowy field", "in a winter landscape", "on snow", "in winter"),
}
AFLOAT: dict[str, Phrases] = {
    "lake": (
        "on a lake",
        "on a lake",
        "on the water",
        "on a calm lake",
        "sailing on a lake",
        "on a blue lake",
        "in a lake",
    ),
    "ocean": ("on the ocean", "at sea", "on the sea", "sailing on the ocean", "on the open sea", "on the waves"),
}
BACKS: dict[str, Phrases] = {
    "mountains": ("mountains", "rocky mountains", "mountains in the background", "bare mountains", "high mountains"),
    "snowy mountains": (
        "snowy mountains",
        "snow-capped mountains",
        "mountains with snow",
        "snow-covered peaks",
        "snowy peaks",
        "white mountain peaks",
    ),
    "hills": ("hills", "green hills", "rolling hills", "soft hills", "low hills in the background"),
    "none": ("a flat horizon", "an open horizon", "an empty horizon", "no mountains", "a wide horizon"),
}
"""Anything called mountains may be snowy; see `captions`."""
CLOUDS: dict[bool, Phrases] = {
    True: ("clouds", "clouds in the sky", "a cloudy sky", "some clouds", "puffy clouds"),
    False: ("a clear sky", "no clouds", "a cloudless sky"),
}
WEATHERS: dict[str, Phrases] = {
    "none": ("in clear weather", "in good weather"),
    "fog": ("in fog", "in the fog", "in mist", "on a foggy day", "on a misty day", "in thick fog", "covered in mist"),
    "rain": ("in the rain", "on a rainy day", "while it rains", "in rain", "in rainy weather", "in heavy rain"),
    "snowfall": ("in falling snow", "while it snows", "during snowfall", "with falling snow", "with snow falling"),
}
WEATHER_WORDS: dict[str, Phrases] = {
    "none": ("clear weather",),
    "fog": ("fog", "mist", "foggy", "misty"),
    "rain": ("rain", "rainy", "rainy weather"),
    "snowfall": ("snowfall", "falling snow", "snowing", "snowflakes"),
}
WEATHER_ADJECTIVES: dict[str, Phrases] = {"fog": ("foggy", "misty"), "rain": ("rainy",), "snowfall": ("snowy",)}
TREES: dict[str, tuple[tuple[str, str], ...]] = {
    "pines": (
        ("pine tree", "pine trees"),
        ("pine", "pines"),
        ("fir tree", "fir trees"),
        ("evergreen tree", "evergreen trees"),
        ("conifer", "conifers"),
    ),
    "autumn": (
        ("autumn tree", "autumn trees"),
        ("orange tree", "orange trees"),
        ("tree in autumn colors", "trees in autumn colors"),
        ("tree with orange leaves", "trees with orange leaves"),
        ("fall tree", "fall trees"),
    ),
}
BOATS: tuple[tuple[str, str], ...] = (
    ("boat", "boats"),
    ("sailboat", "sailboats"),
    ("sailing boat", "sailing boats"),
    ("small boat", "small boats"),
    ("ship", "ships"),
)
CABINS: Phrases = ("cabin", "house", "hut", "cottage", "small house", "wooden cabin")
COUNTS: dict[object, Phrases] = {
    1: ("a", "a", "a", "one", "a single", "a lone"),
    2: ("two", "two", "two", "a pair of"),
    3: ("three",),
    4: ("four",),
    "many": ("", "", "some", "many", "a group of", "a row of", "a forest of", "several"),
}
PLACES: dict[str, Phrases] = {
    "left": ("on the left", "on the left", "at the left side", "on the left side", "to the left", "at left"),
    "centre": ("in the centre", "in the center", "in the middle", "at the center", "at the centre"),
    "right": ("on the right", "on the right", "at the right side", "on the right side", "to the right", "at right"),
}
OPENINGS: Phrases = (
    "a landscape with ",
    "a picture of ",
    "a painting of ",
    "a photo of ",
    "a view of ",
    "a scene with ",
    "an illustration of ",
    "a drawing of ",
)
ADJECTIVES: Phrases = (
    "beautiful",
    "peaceful",
    "quiet",
    "stunning",
    "scenic",
    "serene",
    "lovely",
    "calm",
    "dramatic",
    "wide",
)
ENDINGS: Phrases = (
    ", highly detailed",
    ", 4k",
    ", digital art",
    ", beautiful",
    ", wide angle",
    ", masterpiece",
    ", flat illustration",
    ", landscape",
)
