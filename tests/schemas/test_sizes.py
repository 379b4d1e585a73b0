"""Sizes in all the ways that they can be said, and what is made of them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bildwerk.domain.catalog import ModelSpec
from bildwerk.domain.errors import InvalidParameter
from bildwerk.engine.fitting import fit, output_size
from bildwerk.engine.request import EngineSpec, GenerateRequest
from bildwerk.schemas.inputs import read_image_input
from bildwerk.schemas.sizes import read_size
from tests.schemas.sent import PROMPT, SCHNELL, TINY, refusal, warnings


@pytest.mark.parametrize("value", [0, -1, 1.5, "512", True, None, 63, 2049, 2**31, 2**63, 1e10, [512], {}])
@pytest.mark.parametrize("name", ["width", "height"])
def test_a_side_outside_the_range_is_refused_with_the_range(name: str, value: object) -> None:
    error = refusal(**{name: value})
    assert error.param == name
    assert "from 64 to 2048" in error.message


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({"size": "512*768"}, (512, 768)),
        ({"size": "512x768"}, (512, 768)),
        ({"image_size": "512X768"}, (512, 768)),
        ({"size": "auto"}, (1024, 1024)),
        ({"width": 512}, (512, 1024)),
        ({"aspect_ratio": "16:9"}, (1360, 768)),
        ({"aspect_ratio": "1:1", "resolution": "2k"}, (2048, 2048)),
        ({"aspect_ratio": "16:9", "resolution": "2K"}, (2048, 1152)),
        ({"resolution": "0.5k"}, (512, 512)),
    ],
)
def test_a_size_may_be_said_in_four_ways(values: dict[str, Any], size: tuple[int, int]) -> None:
    result, notes = read_image_input(SCHNELL, PROMPT | values)
    assert (result.width, result.height) == size
    assert notes == ()


def test_sizes_that_contradict_each_other_have_an_order() -> None:
    ways = {"width": 320, "height": 640, "size": "512*512", "image_size": "256*256", "aspect_ratio": "1:1"}
    expected = [(320, 640), (512, 512), (256, 256), (1024, 1024)]
    for given_first, size in zip(["width", "size", "image_size", "aspect_ratio"], expected, strict=True):
        sent = dict(list(ways.items())[list(ways).index(given_first) :])
        result, notes = read_image_input(SCHNELL, PROMPT | dict(reversed(sent.items())))
        assert (result.width, result.height) == size
        assert len(notes) == len([name for name in sent if name not in ("width", "height")]) - (given_first != "width")


def test_one_side_goes_before_the_same_side_of_size() -> None:
    result, notes = read_image_input(SCHNELL, PROMPT | {"width": 256, "size": "512*512"})
    assert (result.width, result.height) == (256, 512)
    assert notes == ("size 512x512 is not used: 256x512 was asked for",)


def test_equal_sizes_said_twice_need_no_warning() -> None:
    assert warnings(width=512, height=512, size="512*512", image_size="512x512") == ()


def test_a_size_off_the_grid_is_rounded_with_a_warning() -> None:
    result, notes = read_image_input(SCHNELL, PROMPT | {"size": "1920x1080"})
    assert (result.width, result.height) == (1920, 1088)
    assert notes == ("the size 1920x1080 is made as 1920x1088: sides are multiples of 16 pixels",)


def test_a_size_above_what_the_model_was_trained_for_is_exact() -> None:
    result, notes = read_image_input(TINY, PROMPT | {"size": "500x300"})
    assert (result.width, result.height) == (500, 300)
    assert notes == ()
    assert read_image_input(TINY, PROMPT | {"size": "200x200"})[1] == (
        "the size 200x200 is made as 192x192: sides are multiples of 32 pixels",
    )


@pytest.mark.parametrize("spec", [SCHNELL, TINY], ids=lambda spec: spec.short_name)
@given(data=st.data())
def test_the_command_line_and_the_api_make_the_same_size(spec: ModelSpec, data: st.DataObject) -> None:
    sides = st.integers(spec.engine.min_side, spec.engine.max_side) | st.integers(200, 330)
    asked = data.draw(sides), data.draw(sides)
    engine = EngineSpec(id=spec.id, folder=Path(), **asdict(spec.engine))
    try:
        at_command_line = fit(engine, GenerateRequest("a", *asked, steps=1, seed=0)).request
    except ValueError:
        with pytest.raises(InvalidParameter):
            read_size({"width": asked[0], "height": asked[1]}, spec.engine)
        return
    size, _ = read_size({"width": asked[0], "height": asked[1]}, spec.engine)
    assert (size.width, size.height) == (at_command_line.width, at_command_line.height)
    assert output_size(engine, size.width, size.height) == (size.width, size.height)


@pytest.mark.parametrize(
    "text", ["512", "512*", "-1*512", "63*512", "512*2049", "0x0", "1e3*512", "99999999999*1", "512 512", 512]
)
@pytest.mark.parametrize("name", ["size", "image_size"])
def test_text_that_is_no_legal_size_is_refused(name: str, text: object) -> None:
    assert refusal(**{name: text}).param in (name, "size")


def test_too_many_pixels_are_refused() -> None:
    small = replace(SCHNELL, engine=replace(SCHNELL.engine, max_pixels=1_000_000))
    with pytest.raises(InvalidParameter, match="at most 1000000 pixels, not 2048x2048"):
        read_image_input(small, PROMPT | {"size": "2048*2048"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("aspect_ratio", "0:1"),
        ("aspect_ratio", "wide"),
        ("aspect_ratio", "1:100"),
        ("resolution", "8k"),
        ("resolution", 1),
    ],
)
def test_shapes_outside_the_range_are_refused(name: str, value: object) -> None:
    assert refusal(**{name: value}).param == name
