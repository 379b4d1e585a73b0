"""Requests are moved to the nearest that the model can fulfil, and every move is said."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bildwerk.domain.catalog import load_catalog
from bildwerk.engine.fitting import fit, kept_share
from bildwerk.engine.request import EngineSpec, GenerateRequest

SPEC = EngineSpec("painter", Path("nowhere"), max_steps=4, size_multiple=16, max_native_pixels=512 * 512)
FLUX_TINY = EngineSpec(
    "flux-tiny", Path("nowhere"), size_multiple=32, max_native_pixels=256 * 256, max_side=2048, max_pixels=4_200_000
)
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
        ({"seed": 2**32 - 4, "num_images": 4}, None),
        (
            {"seed": 2**32 - 1, "num_images": 5},
            "seed 4294967295 is too high for 5 images: the last seed 4294967299 is above 4294967295",
        ),
        ({"guidance": float("nan")}, "guidance nan is not a finite number"),
        ({"guidance": float("-inf")}, "guidance -inf is not a finite number"),
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


SHIPPED = [EngineSpec(model.id, Path("nowhere"), **asdict(model.engine)) for model in load_catalog().values()]


@pytest.mark.parametrize("spec", [SPEC, *SHIPPED], ids=lambda spec: spec.id)
@given(data=st.data())
def test_every_legal_size_is_computed_at_legal_multiples_within_the_trained_area(
    spec: EngineSpec, data: st.DataObject
) -> None:
    width = data.draw(st.integers(spec.min_side, spec.max_side))
    height = data.draw(st.integers(spec.min_side, min(spec.max_side, spec.max_pixels // width)))
    fitted = fit(spec, replace(REQUEST, width=width, height=height, steps=1))
    rendered = (fitted.render_width, fitted.render_height)
    assert all(side % spec.size_multiple == 0 and spec.min_side <= side <= spec.max_side for side in rendered)
    assert rendered[0] * rendered[1] <= (spec.max_native_pixels or spec.max_pixels)
    assert fit(spec, fitted.request).request == fitted.request


@pytest.mark.parametrize("spec", [SPEC, *SHIPPED], ids=lambda spec: spec.id)
@given(data=st.data())
def test_a_picture_is_cropped_by_a_tenth_at_most_or_a_warning_says_so(spec: EngineSpec, data: st.DataObject) -> None:
    width = data.draw(st.integers(spec.min_side, spec.max_side))
    height = data.draw(st.integers(spec.min_side, min(spec.max_side, spec.max_pixels // width)))
    fitted = fit(spec, replace(REQUEST, width=width, height=height, steps=1))
    kept = kept_share((fitted.render_width, fitted.render_height), (fitted.request.width, fitted.request.height))
    assert kept >= 0.9 or any("cropped to" in warning for warning in fitted.warnings)


@pytest.mark.parametrize(
    ("asked", "painted"),
    [
        ((96, 1664), (64, 1024)),
        ((96, 768), (64, 512)),
        ((1664, 96), (1024, 64)),
        ((512, 512), (256, 256)),
        ((1000, 700), (288, 224)),
    ],
)
def test_flux_tiny_paints_a_large_size_at_a_trained_one_of_its_aspect(
    asked: tuple[int, int], painted: tuple[int, int]
) -> None:
    fitted = fit(FLUX_TINY, replace(REQUEST, width=asked[0], height=asked[1]))
    assert (fitted.request.width, fitted.request.height) == asked
    assert (fitted.render_width, fitted.render_height) == painted
    assert not any("cropped" in warning for warning in fitted.warnings)


def test_where_no_trained_size_is_of_the_aspect_the_warning_says_how_much_is_left() -> None:
    fitted = fit(FLUX_TINY, replace(REQUEST, width=64, height=2048))
    assert (fitted.render_width, fitted.render_height) == (64, 1024)
    assert fitted.warnings == (
        "size 64x2048 is above what the model was trained for: painted at 64x1024 and scaled up, "
        "and cropped to 50% of it: no trained size is of that aspect",
    )


def test_a_size_that_rounding_up_would_push_out_of_the_trained_area_is_rounded_down() -> None:
    fitted = fit(FLUX_TINY, replace(REQUEST, width=240, height=273))
    assert (fitted.request.width, fitted.request.height) == (224, 288)
    assert (fitted.render_width, fitted.render_height) == (224, 288)
    assert fitted.warnings == ("size 240x273 was rounded to 224x288: sides are multiples of 32",)
