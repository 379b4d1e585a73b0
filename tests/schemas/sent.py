"""What clients send, read for models of the catalog and for such as it might have."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from bildwerk.domain.catalog import load_catalog
from bildwerk.domain.errors import BildwerkError, InvalidParameter, InvalidUrl
from bildwerk.schemas.inputs import ImageInput, read_image_input

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
