"""Texts in the reader's language. English is in the code; every other language is a catalog beside this module."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
ENGLISH = "en"
LANGUAGES = (ENGLISH, "de")
MAX_RANGES = 20


def preferred_language(accept_language: str) -> str:
    """The language of ours that an `Accept-Language` header likes best; English where it likes none."""
    ranges = [language_range(each) for each in accept_language.split(",")[:MAX_RANGES]]
    liked = [(weight, tag) for tag, weight in ranges if weight > 0]
    for _, tag in sorted(liked, key=lambda pair: -pair[0]):
        primary = tag.partition("-")[0]
        if primary in LANGUAGES:
            return primary
    return ENGLISH


def language_range(text: str) -> tuple[str, float]:
    """`de-AT;q=0.8` is ('de-at', 0.8); a weight that is no number is 0."""
    tag, _, parameter = text.strip().lower().partition(";")
    if not parameter:
        return tag, 1.0
    try:
        return tag, float(parameter.strip().removeprefix("q="))
    except ValueError:
        return tag, 0.0


def error_sentence(code: str, language: str) -> str | None:
    """What an error code means, in a language other than English."""
    return catalog(language).get(code) if language != ENGLISH else None


@cache
def catalog(language: str) -> Mapping[str, str]:
    """The error sentences of one of `LANGUAGES` by code."""
    table = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    errors: Mapping[str, str] = table["errors"]
    return errors
