"""Sizes as people write them."""

import pytest

from bildwerk.cli.failure import CommandError
from bildwerk.cli.picture_size import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512x384", (512, 384)),
        ("512X384", (512, 384)),
        ("512*384", (512, 384)),
        (" 512 x 384 ", (512, 384)),
        ("640", (640, 640)),
    ],
)
def test_a_size_is_a_width_and_a_height_or_one_side(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "abc", "-1", "1e9", "512x", "x512", "512x512x3", "5.5x5", "9" * 5000])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="not a width and a height in pixels, such as 512x512"):
        parse_size(text)
