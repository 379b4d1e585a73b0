"""Which language a reader wants, and whether we have all texts in it."""

import pytest

from bildwerk.domain.errors import BildwerkError
from bildwerk.locale.lookup import LANGUAGES, catalog, error_sentence, preferred_language

HEADERS = [
    ("", "en"),
    ("de", "de"),
    ("de-AT,de;q=0.9,en;q=0.8", "de"),
    ("en-US,en;q=0.9,de;q=0.8", "en"),
    ("fr, de;q=0.5, en;q=0.4", "de"),
    ("en;q=0.1, de;q=0.2", "de"),
    ("de;q=0, en", "en"),
    ("fr", "en"),
    ("*", "en"),
    ("de;q=x,;;,", "en"),
    ("x," * 10_000 + "de", "en"),
]


@pytest.mark.parametrize(("header", "language"), HEADERS, ids=range(len(HEADERS)))
def test_the_best_liked_language_that_we_have_is_taken(header: str, language: str):
    assert preferred_language(header) == language


def every_error(error: type[BildwerkError] = BildwerkError) -> set[type[BildwerkError]]:
    return {error}.union(*(every_error(child) for child in error.__subclasses__()))


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_every_error_has_its_sentence_and_there_are_no_others(language: str):
    assert set(catalog(language)) == {error.code for error in every_error()}


def test_english_is_in_the_code():
    assert error_sentence("unauthorized", "en") is None
