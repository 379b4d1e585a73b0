"""Files carry the numbers they were made with, whole and in any language."""

from importlib.metadata import PackageNotFoundError
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from bildwerk.engine import images
from bildwerk.engine.request import IMAGE_FORMATS, GenerateRequest

PROMPT = "ein See, 雪山, 🏔\nand a second line"
REQUEST = GenerateRequest(PROMPT, width=64, height=48, steps=4, seed=7)
GRADIENT = Image.linear_gradient("L").resize((64, 48)).convert("RGB")


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("output_format", IMAGE_FORMATS)
def test_every_format_carries_its_parameters_and_its_pixels(output_format: str) -> None:
    text = images.parameters_text("painter", REQUEST, seed=8)
    encoded = images.encode(GRADIENT, output_format, text)
    image = opened(encoded.data)
    assert image.format == output_format.upper()
    assert encoded.media_type == f"image/{output_format}"
    assert images.read_parameters(image) == text
    assert max(abs(a - b) for a, b in zip(image.convert("RGB").tobytes(), GRADIENT.tobytes(), strict=True)) <= 8


def test_png_is_lossless() -> None:
    assert opened(images.encode(GRADIENT, "png", None).data).tobytes() == GRADIENT.tobytes()


@pytest.mark.parametrize("output_format", IMAGE_FORMATS)
def test_a_file_without_parameters_has_none(output_format: str) -> None:
    assert images.read_parameters(opened(images.encode(GRADIENT, output_format, None).data)) is None


def test_the_parameters_say_prompt_steps_seed_size_and_model() -> None:
    text = images.parameters_text("painter", REQUEST, seed=8)
    assert text.startswith(PROMPT + "\nSteps: 4, Seed: 8, Size: 64x48, Model: painter, Version: bildwerk ")


def test_scaling_covers_the_target_without_squeezing() -> None:
    squares = Image.new("RGB", (64, 64), "white")
    squares.paste("black", (16, 16, 48, 48))
    scaled = images.scale_to(squares, 256, 128)
    assert scaled.size == (256, 128)
    assert scaled.getpixel((40, 64)) == (255, 255, 255)
    assert max(scaled.getpixel((128, 64)) + scaled.getpixel((128, 8))) < 10


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'gif' is not one of png, jpeg, webp"):
        images.encode(GRADIENT, "gif", None)


def test_a_source_that_is_not_installed_makes_pictures_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(images, "version", missing)
    images.own_version.cache_clear()
    try:
        assert "Version: bildwerk (not installed)" in images.parameters_text("painter", REQUEST, seed=8)
    finally:
        images.own_version.cache_clear()
