"""What a request becomes before it is computed: numbers that cannot be are refused, numbers that can nearly be are
moved to the nearest that can, and every move leaves a warning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isfinite

from bildwerk.engine.request import (
    IMAGE_FORMATS,
    MAX_LORA_SCALE,
    MAX_LORAS,
    MAX_SEED,
    EngineSpec,
    GenerateRequest,
    LoraChoice,
)

MAX_ACCEPTED_STEPS = 50
SAME_ASPECT = 0.9
"""The share of a painted picture that must be left after it was cropped to the asked aspect, to crop it silently."""
Size = tuple[int, int]


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
    width, height = output_size(spec, request.width, request.height)
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
    if request.num_images < 1:
        raise ValueError(f"number of images {request.num_images} is below 1")
    _check_seeds(request.seed, request.num_images)
    if request.guidance is not None and not isfinite(request.guidance):
        raise ValueError(f"guidance {request.guidance} is not a finite number")
    _check_loras(request.loras)
    _check_size(spec, request.width, request.height)
    if request.output_format not in IMAGE_FORMATS:
        raise ValueError(f"output format {request.output_format!r} is not one of {', '.join(IMAGE_FORMATS)}")


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} {value} is outside {low} to {high}")


def _check_seeds(seed: int, num_images: int) -> None:
    _check_range("seed", seed, 0, MAX_SEED)
    last = seed + num_images - 1
    if last > MAX_SEED:
        raise ValueError(f"seed {seed} is too high for {num_images} images: the last seed {last} is above {MAX_SEED}")


def _check_loras(loras: Sequence[LoraChoice]) -> None:
    if len(loras) > MAX_LORAS:
        raise ValueError(f"number of LoRAs {len(loras)} is outside 0 to {MAX_LORAS}")
    for lora in loras:
        if not -MAX_LORA_SCALE <= lora.scale <= MAX_LORA_SCALE:
            limits = f"{-MAX_LORA_SCALE:g} to {MAX_LORA_SCALE:g}"
            raise ValueError(f"weight {lora.scale:g} of the LoRA {lora.name} is outside {limits}")
    names = [lora.name for lora in loras]
    if len(set(names)) < len(names):
        raise ValueError(f"a LoRA is named more than once: {', '.join(names)}")


def _check_size(spec: EngineSpec, width: int, height: int) -> None:
    _check_range("width", width, spec.min_side, spec.max_side)
    _check_range("height", height, spec.min_side, spec.max_side)
    if width * height > spec.max_pixels:
        raise ValueError(
            f"size {width}x{height} has {width * height:,} pixels, above the {spec.max_pixels:,} that {spec.id} makes"
        )


def is_native(spec: EngineSpec, width: int, height: int) -> bool:
    return spec.max_native_pixels is None or width * height <= spec.max_native_pixels


def is_paintable(spec: EngineSpec, width: int, height: int) -> bool:
    """Whether the model itself can make this size, without any scaling."""
    return (
        all(side % spec.size_multiple == 0 and spec.min_side <= side <= spec.max_side for side in (width, height))
        and width * height <= spec.max_pixels
        and is_native(spec, width, height)
    )


def output_size(spec: EngineSpec, width: int, height: int) -> Size:
    """The nearest size that can be painted, for one within the native area; scaling reaches any other as it is."""
    if not is_native(spec, width, height):
        return width, height
    choices = product(_multiples_around(spec, width), _multiples_around(spec, height))
    paintable = [size for size in choices if is_paintable(spec, *size)]
    return min(paintable, key=lambda size: abs(size[0] - width) + abs(size[1] - height), default=(width, height))


def _multiples_around(spec: EngineSpec, side: int) -> Size:
    below = side // spec.size_multiple * spec.size_multiple
    return below + spec.size_multiple * (below < side), below


def render_size(spec: EngineSpec, width: int, height: int) -> Size:
    """The size to compute: the given one where it can be painted. Else, of those with nearly the same aspect, the one
    of which most pixels are left when it is cropped; where no aspect is near, the nearest."""
    if is_paintable(spec, width, height):
        return width, height

    def worth(size: Size) -> tuple[float, int, float]:
        share = kept_share(size, (width, height))
        return min(share, SAME_ASPECT), round(share * size[0] * size[1]), share

    return max(_sizes_near_aspect(spec, width, height), key=worth)


def _sizes_near_aspect(spec: EngineSpec, width: int, height: int) -> Iterator[Size]:
    """For each side that can be painted, the other sides that come nearest to the aspect."""
    area = min(spec.max_native_pixels or spec.max_pixels, spec.max_pixels)
    for side in range(spec.size_multiple, spec.max_side + 1, spec.size_multiple):
        wanted = min(max(side * height // width, spec.min_side), area // side)
        for other in _multiples_around(spec, wanted):
            if is_paintable(spec, side, other):
                yield side, other


def kept_share(painted: Size, wanted: Size) -> float:
    """How much of a painted picture is left when it is cropped to the wanted aspect, 0 to 1."""
    one, other = painted[0] * wanted[1], painted[1] * wanted[0]
    return min(one, other) / max(one, other)


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
    wanted, painted = (fitted.width, fitted.height), (render_width, render_height)
    if wanted == painted:
        return
    kept = kept_share(painted, wanted)
    cropped = "" if kept >= SAME_ASPECT else f", and cropped to {kept:.0%} of it: no trained size is of that aspect"
    yield (
        f"size {fitted.width}x{fitted.height} is above what the model was trained for: "
        f"painted at {render_width}x{render_height} and scaled up{cropped}"
    )
