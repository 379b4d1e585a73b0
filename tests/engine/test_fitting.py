"""Requests are moved to the nearest that the model can fulfil, and every move is said."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bildwerk.engine.fitting import fit
from bildwerk.engine.request import EngineSpec, GenerateRequest

SPEC = EngineSpec("painter", Path("nowhere"), max_steps=4, size_multiple=16, max_native_pixels=512 * 512)
REQUEST = GenerateRequest("a lake", width=512, height=512, steps=4, seed=0)


def test_a_request_within_all_bounds_is_left_alone() -> None:
    fitted = fit(SPEC, REQUEST)
    assert fitted.request == REQUEST
    assert (fitted.render_width, fitted.render_height) == (512, 512)
    assert fitted.warnings == ()


def test_sides_are_rounded_to_the_nearest_multiple_with_a_warning() -> None:
    fitted = fit(SPEC, replace(REQUEST, width=250, height=300))
    assert (fitted.request.width, fitted.request.height) == (256, 304)
    assert fitted.warnings == ("size 250x300 was rounded to 256x304: sides are multiples of 16",)


def test_a_size_beyond_the_trained_ones_is_painted_smaller_and_scaled_with_a_warning() -> None:
    fitted = fit(SPEC, replace(REQUEST, width=1000, height=1000))
    assert (fitted.request.width, fitted.request.height) == (1000, 1000)
    assert (fitted.render_width, fitted.render_height) == (512, 512)
    assert fitted.warnings == (
        "size 1000x1000 is above what the model was trained for: painted at 512x512 and scaled up",
    )


def test_more_steps_than_the_model_was_made_for_are_lowered_with_a_warning() -> None:
    fitted = fit(SPEC, replace(REQUEST, steps=20))
    assert fitted.request.steps == 4
    assert fitted.warnings == ("steps 20 was lowered to 4, the most that painter was made for",)


def test_guidance_for_a_model_without_it_is_dropped_with_a_warning() -> None:
    fitted = fit(SPEC, replace(REQUEST, guidance=7.5))
    assert fitted.request.guidance is None
    assert fitted.warnings == ("guidance 7.5 has no effect: painter has no guidance input",)


def test_a_model_with_guidance_gets_its_default_or_what_was_asked() -> None:
    guided = replace(SPEC, default_guidance=3.5)
    assert fit(guided, REQUEST).request.guidance == 3.5
    assert fit(guided, replace(REQUEST, guidance=7.5)).request.guidance == 7.5
    assert fit(guided, replace(REQUEST, guidance=7.5)).warnings == ()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"prompt": " \n"}, "the prompt is empty: say what the picture should show"),
        ({"width": 17}, "width 17 is outside 64 to 2048"),
        ({"height": 10**9}, "height 1000000000 is outside 64 to 2048"),
        ({"width": 2048, "height": 2048, "prompt": "x"}, None),
        ({"steps": 0}, "steps 0 is outside 1 to 50"),
        ({"steps": 10_000}, "steps 10000 is outside 1 to 50"),
        ({"seed": -1}, "seed -1 is outside 0 to 4294967295"),
        ({"seed": 2**32}, "seed 4294967296 is outside 0 to 4294967295"),
        ({"num_images": 0}, "number of images 0 is below 1"),
        ({"output_format": "gif"}, "output format 'gif' is not one of png, jpeg, webp"),
    ],
)
def test_what_no_rounding_can_save_is_refused_by_name_and_range(wrong: dict[str, object], sentence: str | None) -> None:
    request = replace(REQUEST, **wrong)
    if sentence is None:
        fit(SPEC, request)
        return
    with pytest.raises(ValueError, match="^" + sentence.replace("(", r"\(") + "$"):
        fit(SPEC, request)


def test_an_area_above_the_limit_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"size 2048x1024 has 2,097,152 pixels, above the 1,000,000 that painter makes"
    ):
        fit(replace(SPEC, max_pixels=1_000_000), replace(REQUEST, width=2048, height=1024))


SIDES = st.integers(64, 2048)


@given(width=SIDES, height=SIDES, multiple=st.sampled_from([16, 32]))
def test_every_legal_size_is_computed_at_multiples_within_the_trained_area(
    width: int, height: int, multiple: int
) -> None:
    spec = replace(SPEC, size_multiple=multiple)
    fitted = fit(spec, replace(REQUEST, width=width, height=height))
    rendered = (fitted.render_width, fitted.render_height)
    assert all(side % multiple == 0 and side >= multiple for side in rendered)
    moved_by_rounding = (width + multiple) * (height + multiple)
    assert fitted.render_width * fitted.render_height <= max(512 * 512, min(moved_by_rounding, 520 * 520))


@given(width=st.integers(512, 2048), height=st.integers(512, 2048))
def test_a_scaled_picture_keeps_its_aspect_within_a_tenth(width: int, height: int) -> None:
    fitted = fit(SPEC, replace(REQUEST, width=width, height=height))
    asked, rendered = width / height, fitted.render_width / fitted.render_height
    assert rendered == pytest.approx(asked, rel=0.1)
