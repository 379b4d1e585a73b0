"""The body of a submit becomes an `ImageInput`: merged, checked against the model's parameters, and complete.

Nothing that was sent is silently dropped: it is honored, refused with the legal range, or named in a warning.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bildwerk.domain.catalog import ModelSpec
from bildwerk.domain.errors import InvalidParameter, InvalidUrl
from bildwerk.schemas.image_parameters import MAX_STEPS, image_parameters
from bildwerk.schemas.loras import NamedLora, read_loras
from bildwerk.schemas.parameter import Parameter
from bildwerk.schemas.pictures import IMAGE_NAMES, read_pictures
from bildwerk.schemas.sizes import read_size

MAX_MODEL_CHARACTERS = 200
MAX_UNKNOWN_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One valid request. Sides are pixels; `seed` None asks for a random one; `image` and `mask_image` are as sent."""

    model: str
    prompt: str
    width: int
    height: int
    steps: int
    seed: int | None
    num_images: int
    guidance: float | None
    output_format: str
    loras: tuple[NamedLora, ...]
    image: str | None
    mask_image: str | None
    strength: float
    enable_base64_output: bool
    enable_sync_mode: bool
    enable_safety_checker: bool
    webhook_url: str | None


def merged(body: Mapping[str, Any]) -> dict[str, Any]:
    """The flat form of a body: the members of `input`, if there is one, over those beside it."""
    flat = {key: value for key, value in body.items() if key != "input"}
    nested = body.get("input")
    if nested is None:
        return flat
    if not isinstance(nested, dict):
        raise InvalidParameter("input must be an object with the model's parameters", param="input")
    return flat | nested


def model_name(flat: Mapping[str, Any]) -> str:
    """The model that a merged body asks for. Raises `InvalidParameter` where it names none."""
    name = flat.get("model")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_MODEL_CHARACTERS:
        raise InvalidParameter(f"model must be a text of 1 to {MAX_MODEL_CHARACTERS} characters", param="model")
    return name


def read_image_input(spec: ModelSpec, flat: Mapping[str, Any]) -> tuple[ImageInput, tuple[str, ...]]:
    """The input that a merged body holds for `spec`, and the warnings for what could not be taken as it stands.

    Raises `InvalidParameter` or `InvalidUrl`, naming the parameter and its legal values.
    """
    parameters = image_parameters(spec)
    values, warnings = read_values(parameters, flat)
    size, size_warnings = read_size(size_values(parameters, flat), spec.engine)
    steps, steps_warnings = clamped_steps(values["steps"], spec)
    image, image_warnings = read_pictures(spec, flat, values)
    loras, lora_warnings = read_loras(values["loras"])
    result = ImageInput(
        model=spec.id,
        prompt=values["prompt"],
        width=size.width,
        height=size.height,
        steps=steps,
        seed=None if values["seed"] == -1 else values["seed"],
        num_images=values["num_images"],
        guidance=values["guidance_scale"],
        output_format=values["output_format"],
        loras=loras,
        image=image,
        mask_image=values["mask_image"],
        strength=values["strength"],
        enable_base64_output=values["enable_base64_output"],
        enable_sync_mode=values["enable_sync_mode"],
        enable_safety_checker=values["enable_safety_checker"],
        webhook_url=read_webhook_url(values["webhook_url"]),
    )
    unknown = unknown_warnings(parameters, flat)
    return result, (*warnings, *size_warnings, *steps_warnings, *image_warnings, *lora_warnings, *unknown)


def read_values(parameters: Iterable[Parameter], flat: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Each parameter's value by its main name, its default where it was not given; and warnings."""
    given = {parameter: given_values(parameter, flat) for parameter in parameters}
    values = {parameter.name: chosen(parameter, sent) for parameter, sent in given.items()}
    return values, [warning for parameter, sent in given.items() for warning in value_warnings(parameter, sent)]


def chosen(parameter: Parameter, sent: Mapping[str, Any]) -> Any:
    if parameter.required and not sent:
        raise InvalidParameter(f"{parameter.name} is missing", param=parameter.name)
    return parameter.default if parameter.no_effect else next(iter(sent.values()), parameter.default)


def value_warnings(parameter: Parameter, sent: Mapping[str, Any]) -> Iterator[str]:
    """What becomes of values without effect, and of those that contradict the one that counts."""
    name = next(iter(sent), "")
    if parameter.no_effect and sent and sent[name] != parameter.default:
        yield f"{name} has no effect: {parameter.no_effect}"
    if parameter.name != "size":
        yield from (f"{other} is not used: {name} goes before it" for other in sent if sent[other] != sent[name])


def given_values(parameter: Parameter, flat: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter's legal values by the name that each was sent under, the one that counts first."""
    sent = {name: flat[name] for name in parameter.names if name in flat}
    return {name: parameter.read(value) for name, value in sent.items() if not parameter.is_unset(value)}


def size_values(parameters: Iterable[Parameter], flat: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was said about the size, by the name it was said under."""
    named = {"size", "width", "height", "aspect_ratio", "resolution"}
    given = [given_values(parameter, flat) for parameter in parameters if parameter.name in named]
    return {name: value for values in given for name, value in values.items()}


def clamped_steps(steps: int, spec: ModelSpec) -> tuple[int, list[str]]:
    most = spec.engine.max_steps
    if steps <= most:
        return steps, []
    return most, [
        f"steps {steps} are run as {most}, the most that {spec.id} was made for (up to {MAX_STEPS} is accepted)"
    ]


def read_webhook_url(url: str | None) -> str | None:
    """`url` if it has the form of a webhook's address. Whether its host may be contacted is asked elsewhere."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or not url.isprintable():
        raise InvalidUrl("webhook_url must be an https URL with a public host and no password", param="webhook_url")
    return url


def unknown_warnings(parameters: Iterable[Parameter], flat: Mapping[str, Any]) -> list[str]:
    known = known_names(parameters)
    unknown = [key for key in flat if key not in known]
    warnings = [f"{printable(key)} is not a parameter and was ignored" for key in unknown[:MAX_UNKNOWN_SHOWN]]
    rest = len(unknown) - MAX_UNKNOWN_SHOWN
    return warnings if rest <= 0 else [*warnings, f"{rest} more unknown parameters were ignored"]


def known_names(parameters: Iterable[Parameter]) -> frozenset[str]:
    """Every name that a member of a merged body may have and count."""
    return frozenset({"model", *IMAGE_NAMES}.union(*(parameter.names for parameter in parameters)))


def printable(key: str) -> str:
    return ascii(key[:64])[1:-1] or "''"
