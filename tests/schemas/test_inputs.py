"""A body as a whole: its model, its nesting, its defaults, what is unknown in it and what has no effect."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bildwerk.domain.errors import InvalidParameter, InvalidUrl
from bildwerk.schemas.inputs import merged, model_name, read_image_input
from tests.schemas.sent import PROMPT, SCHNELL, WITH_PICTURES, read, warnings


def test_a_prompt_alone_gets_the_models_defaults() -> None:
    result, notes = read_image_input(SCHNELL, PROMPT)
    assert (result.width, result.height, result.steps, result.num_images) == (1024, 1024, 4, 1)
    assert (result.seed, result.guidance, result.output_format, result.image) == (None, None, "png", None)
    assert notes == ()


def test_the_values_of_the_public_code_sample_are_taken_with_warnings() -> None:
    sample = {"width": 512, "height": 512, "steps": 20, "guidance_scale": 7.5}
    result, notes = read_image_input(SCHNELL, PROMPT | sample)
    assert (result.width, result.height, result.steps, result.guidance) == (512, 512, 4, None)
    assert [note.split()[0] for note in notes] == ["guidance_scale", "steps"]


def test_flat_and_nested_bodies_say_the_same() -> None:
    nested = {"model": "m", "input": {"prompt": "a lake", "width": 512}}
    assert merged(nested) == merged({"model": "m", "prompt": "a lake", "width": 512})


def test_input_goes_over_the_top_level() -> None:
    assert merged({"prompt": "above", "input": {"prompt": "within"}}) == {"prompt": "within"}
    assert merged({"prompt": "above", "input": None}) == {"prompt": "above"}


@pytest.mark.parametrize("value", [[], "x", 1, True])
def test_input_must_be_an_object(value: object) -> None:
    with pytest.raises(InvalidParameter) as caught:
        merged({"model": "m", "input": value})
    assert caught.value.param == "input"


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": ""}, {"model": 7}, {"model": "x" * 1_000_000}])
def test_a_body_must_name_a_model(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        model_name(body)
    assert caught.value.param == "model"
    assert len(caught.value.message) < 200


def test_parameters_without_effect_are_named() -> None:
    notes = warnings(guidance_scale=7.5, negative_prompt="blur", enable_safety_checker=True, strength=0.5)
    assert [note.split()[0] for note in notes] == [
        "guidance_scale",
        "enable_safety_checker",
        "negative_prompt",
        "strength",
    ]
    assert warnings(guidance_scale=None, negative_prompt="", enable_safety_checker=False) == ()


def test_unknown_keys_are_named_and_bind_nothing() -> None:
    result, notes = read_image_input(
        SCHNELL, PROMPT | {"price": 0, "tenant_id": "x", "status": "completed", "is_admin": True}
    )
    assert result == read()
    assert [note.split()[0] for note in notes] == ["price", "tenant_id", "status", "is_admin"]


def test_many_and_odd_unknown_keys_make_few_and_plain_warnings() -> None:
    notes = warnings(**{f"\x1b[2J\n{i}" + "k" * 1000: i for i in range(500)})
    assert len(notes) == 21
    assert notes[-1] == "480 more unknown parameters were ignored"
    assert all(note.isprintable() and len(note) < 400 for note in notes)


NAMES = [
    "prompt",
    "size",
    "width",
    "steps",
    "seed",
    "num_images",
    "image",
    "images",
    "input",
    "strength",
    "webhook_url",
    "x",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_no_body_causes_any_other_error(body: dict[str, Any]) -> None:
    try:
        result, _ = read_image_input(WITH_PICTURES, merged(body))
    except (InvalidParameter, InvalidUrl) as error:
        refused = error
        assert refused.param
    else:
        assert result.prompt == body["prompt"]
