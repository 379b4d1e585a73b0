"""Pictures to start from: where they may come from, and what goes with them."""

import pytest

from bildwerk.domain.errors import InvalidParameter, InvalidUrl
from bildwerk.schemas.inputs import read_image_input
from tests.schemas.sent import PNG, PROMPT, WITH_PICTURES, refusal


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
