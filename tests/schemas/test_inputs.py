import base64
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bildwerk.domain.catalog import ModelSpec, load_catalog
from bildwerk.domain.errors import BildwerkError, InvalidParameter, InvalidUrl
from bildwerk.engine.fitting import fit, output_size
from bildwerk.engine.request import MAX_LORA_SCALE, MAX_LORAS, EngineSpec, GenerateRequest
from bildwerk.schemas.inputs import ImageInput, merged, model_name, read_image_input
from bildwerk.schemas.loras import SCALE
from bildwerk.schemas.sizes import read_size

SCHNELL = load_catalog()["black-forest-labs/flux-schnell"]
TINY = load_catalog()["bildwerk/flux-tiny"]
WITH_PICTURES = replace(SCHNELL, max_input_images=1)
WITH_GUIDANCE = replace(SCHNELL, engine=replace(SCHNELL.engine, default_guidance=3.5))
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(60)).decode()
PROMPT = {"prompt": "a lake"}


def read(**values: Any) -> ImageInput:
    return read_image_input(SCHNELL, PROMPT | values)[0]


def warnings(**values: Any) -> tuple[str, ...]:
    return read_image_input(SCHNELL, PROMPT | values)[1]


def refusal(**values: Any) -> BildwerkError:
    with pytest.raises((InvalidParameter, InvalidUrl)) as caught:
        read(**values)
    return caught.value


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


@pytest.mark.parametrize("value", [0, -1, 1.5, "512", True, None, 63, 2049, 2**31, 2**63, 1e10, [512], {}])
@pytest.mark.parametrize("name", ["width", "height"])
def test_a_side_outside_the_range_is_refused_with_the_range(name: str, value: object) -> None:
    error = refusal(**{name: value})
    assert error.param == name
    assert "from 64 to 2048" in error.message


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


@pytest.mark.parametrize("name", ["image", "image_url", "images"])
@pytest.mark.parametrize("value", ["https://example.com/a.png", f"data:image/png;base64,{PNG}", PNG])
def test_a_picture_may_be_sent_under_three_names(name: str, value: str) -> None:
    assert read_image_input(WITH_PICTURES, PROMPT | {name: value})[0].image == value


def test_images_may_be_a_list() -> None:
    assert read_image_input(WITH_PICTURES, PROMPT | {"images": [PNG, ""]})[0].image == PNG


def test_a_model_that_only_reads_text_refuses_pictures() -> None:
    error = refusal(image=PNG)
    assert (error.param, error.message) == (
        "image",
        "black-forest-labs/flux-schnell takes no picture to start from; image has 1",
    )


def test_too_many_pictures_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="at most 1 pictures"):
        read_image_input(WITH_PICTURES, PROMPT | {"images": [PNG] * 50})


def test_pictures_that_contradict_each_other_have_an_order() -> None:
    sent = {"images": ["https://c"], "image_url": "https://b", "image": "https://a"}
    result, notes = read_image_input(WITH_PICTURES, PROMPT | sent)
    assert result.image == "https://a"
    assert notes == ("image_url is not used: image goes before it", "images is not used: image goes before it")


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd",
        "gopher://x",
        "ftp://x/a.png",
        "data:text/html;base64,iVBOR",
        "data:image/png,iVBOR",
        "jar:x",
        "//host/a.png",
        "a.png",
        "iVBOR*",
        "/etc/passwd",
        "https://" + "x" * 5000,
        "iVBORab",
    ],
)
def test_a_picture_that_is_neither_web_address_nor_data_is_refused(text: str) -> None:
    for values in ({"image": text}, {"image": PNG, "mask_image": text}):
        with pytest.raises(InvalidUrl):
            read_image_input(WITH_PICTURES, PROMPT | values)


def test_a_mask_needs_a_picture() -> None:
    with pytest.raises(InvalidParameter, match="mask_image needs image"):
        read_image_input(WITH_PICTURES, PROMPT | {"mask_image": PNG})
    assert read_image_input(WITH_PICTURES, PROMPT | {"image": PNG, "mask_image": PNG})[0].mask_image == PNG


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", True, None])
def test_strength_is_from_0_to_1(value: object) -> None:
    with pytest.raises(InvalidParameter, match="strength must be a number from 0 to 1"):
        read_image_input(WITH_PICTURES, PROMPT | {"image": PNG, "strength": value})


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


def test_the_limits_of_loras_are_those_of_the_engine() -> None:
    assert (SCALE.minimum, SCALE.maximum) == (-MAX_LORA_SCALE, MAX_LORA_SCALE)
    assert {spec.max_loras for spec in load_catalog().values()} == {MAX_LORAS}
