"""The pictures in a request: as sent, recognized as a web address or as picture data, and how many there may be."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from bildwerk.domain.catalog import ModelSpec
from bildwerk.domain.errors import InvalidParameter, InvalidUrl

IMAGE_NAMES = ("image", "image_url", "images")
PICTURE_BEGINNINGS = ("iVBOR", "/9j/", "UklGR")
"""How PNG, JPEG and WebP files begin in base64."""


def read_pictures(spec: ModelSpec, flat: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """The picture to start from. `image` goes before `image_url`, and that before `images`."""
    sent = {name: pictures for name in IMAGE_NAMES if (pictures := listed_pictures(name, flat.get(name)))}
    if values["mask_image"] is not None:
        check_picture("mask_image", values["mask_image"])
    if not sent:
        require_no_companions(values)
        return None, ["strength has no effect without image"] if "strength" in flat else []
    name, pictures = next(iter(sent.items()))
    if len(pictures) > spec.max_input_images:
        legal = f"at most {spec.max_input_images} pictures" if spec.max_input_images else "no picture"
        raise InvalidParameter(f"{spec.id} takes {legal} to start from; {name} has {len(pictures)}", param=name)
    others = [other for other, listed in sent.items() if listed != pictures]
    return pictures[0], [f"{other} is not used: {name} goes before it" for other in others]


def listed_pictures(name: str, value: Any) -> list[str]:
    """The pictures sent as `name`, which is one text or, for `images`, a list of them."""
    pictures = value if isinstance(value, list) and name == "images" else [value]
    pictures = [picture for picture in pictures if picture not in (None, "")]
    for picture in pictures:
        if not isinstance(picture, str):
            raise InvalidParameter(f"{name} must be a URL, a data URI or base64", param=name)
        check_picture(name, picture)
    return pictures


def require_no_companions(values: Mapping[str, Any]) -> None:
    if values["mask_image"] is not None:
        raise InvalidParameter("mask_image needs image, the picture that it masks", param="mask_image")


def check_picture(name: str, text: str) -> None:
    """Refuse what is neither a web address nor picture data. Raises `InvalidUrl`."""
    is_web = text.startswith(("http://", "https://")) and len(text) <= 4096
    if not is_web and picture_data(text) is None:
        raise InvalidUrl(f"{name} must be an http or https URL, a data:image/…;base64 URI or base64", param=name)


def picture_data(text: str) -> bytes | None:
    """The bytes of a data URI or of plain base64, or None if `text` is neither."""
    head, comma, body = text.partition(",")
    if comma and not (head.startswith("data:image/") and head.endswith(";base64")):
        return None
    encoded = body if comma else text
    if not encoded.startswith(PICTURE_BEGINNINGS):
        return None
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
