"""How large the picture shall be: four ways to say it, one size in pixels.

`width` and `height` go before `size`, that before `image_size`, and that before `aspect_ratio` with `resolution`. What
loses is named in a warning, and so is a size that had to be rounded.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from bildwerk.domain.catalog import EngineNumbers
from bildwerk.domain.errors import InvalidParameter

RESOLUTIONS = {"0.5k": 512, "1k": 1024, "2k": 2048}
"""The side in pixels of the square whose area the picture has at most."""

_SIZE = re.compile(r"\s*(\d{1,6})\s*[*xX×]\s*(\d{1,6})\s*", re.ASCII)
_RATIO = re.compile(r"\s*(\d{1,4})\s*[:/]\s*(\d{1,4})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def read_size(values: Mapping[str, Any], limits: EngineNumbers) -> tuple[Size, list[str]]:
    """The size that `values` (by parameter name) ask for, and the warnings that go with it.

    Raises `InvalidParameter` for text that is no size, and for a size outside `limits`.
    """
    named = {
        name: size for name in ("size", "image_size", "aspect_ratio") if (size := named_size(name, values, limits))
    }
    base = next(iter(named.values()), Size(limits.default_width, limits.default_height))
    asked = Size(values.get("width", base.width), values.get("height", base.height))
    size = fitted(asked, limits)
    warnings = [f"{name} {other} is not used: {asked} was asked for" for name, other in named.items() if other != asked]
    if size != asked:
        warnings.append(f"the size {asked} is made as {size}: sides are multiples of {limits.size_multiple} pixels")
    return size, warnings


def named_size(name: str, values: Mapping[str, Any], limits: EngineNumbers) -> Size | None:
    if name == "aspect_ratio":
        return shaped_size(values, limits) if "aspect_ratio" in values or "resolution" in values else None
    return written_size(name, values[name], limits) if name in values else None


def written_size(name: str, text: str, limits: EngineNumbers) -> Size:
    if text == "auto":
        return Size(limits.default_width, limits.default_height)
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidParameter(
            f"{name} must be width*height in pixels, such as 1024*1024, not {text[:32]!r}", param=name
        )
    size = Size(int(match[1]), int(match[2]))
    for side in (size.width, size.height):
        check_side(name, side, limits)
    return size


def check_side(name: str, side: int, limits: EngineNumbers) -> None:
    if not limits.min_side <= side <= limits.max_side:
        legal = f"from {limits.min_side} to {limits.max_side} pixels"
        raise InvalidParameter(f"{name} must have sides {legal}, not {side}", param=name)


def shaped_size(values: Mapping[str, Any], limits: EngineNumbers) -> Size:
    """The largest legal size of the shape `aspect_ratio` with at most the area that `resolution` says."""
    across, down = ratio(values.get("aspect_ratio", "1:1"))
    area = resolution(values.get("resolution"), limits)
    unit = min(math.sqrt(min(area, limits.max_pixels) / (across * down)), limits.max_side / max(across, down))
    size = Size(*(round_down(side * unit, limits.size_multiple) for side in (across, down)))
    for side in (size.width, size.height):
        check_side("aspect_ratio", side, limits)
    return size


def ratio(text: str) -> tuple[int, int]:
    match = _RATIO.fullmatch(text)
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise InvalidParameter(f"aspect_ratio must be two numbers such as 16:9, not {text!r}", param="aspect_ratio")
    return int(match[1]), int(match[2])


def resolution(text: str | None, limits: EngineNumbers) -> int:
    """The area in pixels."""
    if text is None:
        return limits.default_width * limits.default_height
    if text.lower() not in RESOLUTIONS:
        legal = ", ".join(RESOLUTIONS)
        raise InvalidParameter(f"resolution must be one of {legal}, not {text!r}", param="resolution")
    return RESOLUTIONS[text.lower()] ** 2


def round_down(side: float, multiple: int) -> int:
    # A hair is added because 1024.0 may arrive as 1023.9999999.
    return int(side + 1e-6) // multiple * multiple


def fitted(size: Size, limits: EngineNumbers) -> Size:
    """The nearest size that the model paints, for one within the area that it was trained for; any other as it is.

    Pictures above that area are scaled up to the size that was asked for. The engine's own `output_size` moves no size
    that comes from here. Raises `InvalidParameter` if it has too many pixels.
    """
    area = size.width * size.height
    if area > limits.max_pixels:
        legal = f"at most {limits.max_pixels} pixels"
        raise InvalidParameter(f"size must have {legal}, not {size} ({area})", param="size")
    if area > (limits.max_native_pixels or area):
        return size
    sides = product(multiples_around(size.width, limits), multiples_around(size.height, limits))
    paintable = [Size(*each) for each in sides if is_paintable(*each, limits)]
    return min(paintable, key=lambda other: distance(other, size), default=size)


def multiples_around(side: int, limits: EngineNumbers) -> tuple[int, int]:
    """The multiple at or above `side`, which is taken where both are as near, and the one at or below it."""
    below = side // limits.size_multiple * limits.size_multiple
    return below + limits.size_multiple * (below < side), below


def is_paintable(width: int, height: int, limits: EngineNumbers) -> bool:
    has_legal_sides = all(limits.min_side <= side <= limits.max_side for side in (width, height))
    return has_legal_sides and width * height <= min(limits.max_pixels, limits.max_native_pixels or limits.max_pixels)


def distance(one: Size, other: Size) -> int:
    return abs(one.width - other.width) + abs(one.height - other.height)
