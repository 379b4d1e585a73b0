"""Prompt, steps, seed and the other parameters, each by itself."""

import pytest

from bildwerk.domain.errors import InvalidParameter
from bildwerk.schemas.inputs import read_image_input
from tests.schemas.sent import PROMPT, SCHNELL, WITH_GUIDANCE, read, refusal


@pytest.mark.parametrize("prompt", ["", "   ", "\n", 5, None, ["a"], {"a": 1}, True, "x" * 10_001, "a\x00b"])
def test_a_prompt_must_be_a_text_with_something_in_it(prompt: object) -> None:
    error = refusal(prompt=prompt)
    assert error.param == "prompt"
    assert "1 to 10000 characters" in error.message


def test_a_missing_prompt_is_named() -> None:
    with pytest.raises(InvalidParameter, match="prompt is missing") as caught:
        read_image_input(SCHNELL, {"width": 512})
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    "prompt", ["\u202eabc", "\u200b\u200bx", "\U0001f600", "<script>", "{{7*7}}", "\x1b[2J", "x" * 10_000]
)
def test_every_other_text_is_a_prompt(prompt: str) -> None:
    assert read(prompt=prompt).prompt == prompt


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("steps", -1), ("steps", 51), ("steps", 10**9), ("num_inference_steps", 51)]
)
def test_steps_outside_1_to_50_are_refused(name: str, value: int) -> None:
    assert "steps must be an integer from 1 to 50" in refusal(**{name: value}).message


@pytest.mark.parametrize("value", [0, 5, 10**6, "2", None, 1.5])
def test_num_images_outside_1_to_4_is_refused(value: object) -> None:
    assert "num_images must be an integer from 1 to 4" in refusal(num_images=value).message


@pytest.mark.parametrize("value", [-2, 2**64, 2**32, "x", 0.5, True])
def test_a_seed_outside_the_range_is_refused(value: object) -> None:
    assert "seed must be an integer from -1 to 4294967295" in refusal(seed=value).message


@pytest.mark.parametrize("value", [-1, None])
def test_minus_one_and_null_ask_for_a_random_seed(value: object) -> None:
    assert read(seed=value).seed is None


def test_a_seed_is_kept() -> None:
    assert (read(seed=0).seed, read(seed=2**32 - 1).seed) == (0, 2**32 - 1)


def test_an_integral_float_is_an_integer() -> None:
    result = read(width=512.0)
    assert (result.width, type(result.width)) == (512, int)


def test_steps_has_a_synonym_that_goes_second() -> None:
    result, notes = read_image_input(SCHNELL, PROMPT | {"num_inference_steps": 1, "steps": 3})
    assert result.steps == 3
    assert notes == ("num_inference_steps is not used: steps goes before it",)
    assert read(num_inference_steps=2).steps == 2


def test_guidance_counts_for_a_model_that_has_it() -> None:
    result, notes = read_image_input(WITH_GUIDANCE, PROMPT | {"guidance_scale": 7.5})
    assert (result.guidance, notes) == (7.5, ())
    assert read_image_input(WITH_GUIDANCE, PROMPT)[0].guidance == 3.5
    with pytest.raises(InvalidParameter, match="a number from 0 to 20"):
        read_image_input(WITH_GUIDANCE, PROMPT | {"guidance_scale": 21})


@pytest.mark.parametrize("value", ["true", 1, 0, None, "yes"])
@pytest.mark.parametrize("name", ["enable_base64_output", "enable_sync_mode", "enable_safety_checker"])
def test_switches_are_true_or_false(name: str, value: object) -> None:
    assert refusal(**{name: value}).message.startswith(f"{name} must be true or false")


@pytest.mark.parametrize("value", ["gif", "PNG ", "", None])
def test_the_format_is_one_of_three(value: object) -> None:
    if value in ("", None):
        assert read(output_format=value).output_format == "png"
    else:
        assert "one of png, jpeg, webp" in refusal(output_format=value).message


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "ftp://example.com",
        "example.com",
        "https://",
        "https://u:p@example.com",
        "https://a\nb",
        "https://[",
        "https://" + "x" * 1024,
    ],
)
def test_a_webhook_needs_https_and_a_host(url: str) -> None:
    assert refusal(webhook_url=url).param == "webhook_url"


def test_a_webhook_url_is_kept() -> None:
    assert read(webhook_url="https://example.com/hook?x=1").webhook_url == "https://example.com/hook?x=1"
    assert read(webhook_url="").webhook_url is None
