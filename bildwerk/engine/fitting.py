"""What a request becomes before it is computed: numbers that cannot be are refused, numbers that can nearly be are
moved to the nearest that can, and every move leaves a warning.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, floor, sqrt

from bildwerk.engine.request import IMAGE_FORMATS, MAX_SEED, EngineSpec, GenerateRequest

MAX_ACCEPTED_STEPS = 50


@dataclass(frozen=True, slots=True)
class Fitted:
    """A request that the model can fulfil. `render_width` and `render_height` differ from the request's size where
    the picture is made smaller and then scaled up."""

    request: GenerateRequest
    render_width: int
    render_height: int
    warnings: tuple[str, ...]


def fit(spec: EngineSpec, request: GenerateRequest) -> Fitted:
    """The nearest request that the model can fulfil, with a warning for every number that had to move.

    Raises `ValueError` that names the value and the legal range for a request that is out of every range.
    """
    check(spec, request)
    width, height = output_size(spec, request)
    fitted = replace(
        request,
        width=width,
        height=height,
        steps=min(request.steps, spec.max_steps),
        guidance=fitted_guidance(spec, request.guidance),
    )
    render_width, render_height = render_size(spec, width, height)
    warnings = (*moved_numbers(spec, request, fitted), *scaled_up(fitted, render_width, render_height))
    return Fitted(fitted, render_width, render_height, warnings)


def check(spec: EngineSpec, request: GenerateRequest) -> None:
    """Raise `ValueError` for the first number that no rounding can save."""
    if not request.prompt.strip():
        raise ValueError("the prompt is empty: say what the picture should show")
    _check_range("steps", request.steps, 1, MAX_ACCEPTED_STEPS)
    _check_range("seed", request.seed, 0, MAX_SEED)
    if request.num_images < 1:
        raise ValueError(f"number of images {request.num_images} is below 1")
    _check_size(spec, request.width, request.height)
    if request.output_format not in IMAGE_FORMATS:
        raise ValueError(f"output format {request.output_format!r} is not one of {', '.join(IMAGE_FORMATS)}")


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} {value} is outside {low} to {high}")


def _check_size(spec: EngineSpec, width: int, height: int) -> None:
    _check_range("width", width, spec.min_side, spec.max_side)
    _check_range("height", height, spec.min_side, spec.max_side)
    if width * height > spec.max_pixels:
        raise ValueError(
            f"size {width}x{height} has {width * height:,} pixels, above the {spec.max_pixels:,} that {spec.id} makes"
        )


def is_native(spec: EngineSpec, width: int, height: int) -> bool:
    return spec.max_native_pixels is None or width * height <= spec.max_native_pixels


def output_size(spec: EngineSpec, request: GenerateRequest) -> tuple[int, int]:
    """Scaling reaches any size; a picture that is not scaled must have sides that are multiples."""
    if not is_native(spec, request.width, request.height):
        return request.width, request.height
    return nearest_multiple(spec, request.width), nearest_multiple(spec, request.height)


def nearest_multiple(spec: EngineSpec, side: int) -> int:
    multiple = spec.size_multiple
    return max(round(side / multiple), ceil(spec.min_side / multiple)) * multiple


def render_size(spec: EngineSpec, width: int, height: int) -> tuple[int, int]:
    """The size to compute: the given one where it is native, else the largest native one of nearly the same aspect."""
    if spec.max_native_pixels is None or is_native(spec, width, height):
        return nearest_multiple(spec, width), nearest_multiple(spec, height)
    scale = sqrt(spec.max_native_pixels / (width * height)) / spec.size_multiple
    choices = [
        (columns * spec.size_multiple, rows * spec.size_multiple)
        for columns, rows in product(_around(width * scale), _around(height * scale))
    ]
    native = [size for size in choices if is_native(spec, *size)]
    return min(native, key=lambda size: abs(size[0] / size[1] * height / width - 1))


def _around(value: float) -> tuple[int, int]:
    return max(1, floor(value)), max(1, ceil(value))


def fitted_guidance(spec: EngineSpec, guidance: float | None) -> float | None:
    if spec.default_guidance is None:
        return None
    return spec.default_guidance if guidance is None else guidance


def moved_numbers(spec: EngineSpec, asked: GenerateRequest, fitted: GenerateRequest) -> Iterator[str]:
    if (asked.width, asked.height) != (fitted.width, fitted.height):
        yield (
            f"size {asked.width}x{asked.height} was rounded to {fitted.width}x{fitted.height}: "
            f"sides are multiples of {spec.size_multiple}"
        )
    if asked.steps != fitted.steps:
        yield f"steps {asked.steps} was lowered to {fitted.steps}, the most that {spec.id} was made for"
    if asked.guidance is not None and spec.default_guidance is None:
        yield f"guidance {asked.guidance:g} has no effect: {spec.id} has no guidance input"


def scaled_up(fitted: GenerateRequest, render_width: int, render_height: int) -> Iterator[str]:
    if (fitted.width, fitted.height) != (render_width, render_height):
        yield (
            f"size {fitted.width}x{fitted.height} is above what the model was trained for: "
            f"painted at {render_width}x{render_height} and scaled up"
        )
