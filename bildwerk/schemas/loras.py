"""The LoRAs in a request: a list of objects, each with the name that the server's owner gave one, and a scale.

Hosted APIs name them so, with a web address as `path`. Here nothing is fetched: the name is all that a client knows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bildwerk.domain.errors import InvalidParameter
from bildwerk.schemas.parameter import Parameter, shown

MAX_SCALE = 4.0
MAX_NAME_CHARACTERS = 64

PATH = Parameter(
    name="path",
    kind="string",
    title="Name",
    description="The name of a LoRA that this server has for the model. It is no URL and no file: nothing is fetched.",
    required=True,
    min_length=1,
    max_length=MAX_NAME_CHARACTERS,
)
SCALE = Parameter(
    name="scale",
    kind="number",
    title="Scale",
    description="How strongly it is applied: 1 as it was made, 0 not at all, below 0 against its direction.",
    default=1.0,
    nullable=True,
    minimum=-MAX_SCALE,
    maximum=MAX_SCALE,
)
MEMBERS = (PATH, SCALE)


@dataclass(frozen=True, slots=True)
class NamedLora:
    """One LoRA as it was asked for."""

    name: str
    scale: float


def loras_parameter(max_loras: int) -> Parameter:
    return Parameter(
        name="loras",
        kind="array",
        title="LoRAs",
        description=f"Up to {max_loras} small adaptations of the model to apply to this request alone.",
        nullable=True,
        members=MEMBERS,
        max_items=max_loras,
        listed=max_loras > 0,
    )


def read_loras(sent: list[Any] | None) -> tuple[tuple[NamedLora, ...], list[str]]:
    """The legal content of a legal list, and warnings for members without meaning. Raises `InvalidParameter`."""
    items = sent or []
    found = tuple(read_lora(f"loras[{index}]", item) for index, item in enumerate(items))
    names = [lora.name for lora in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise refused(f"loras[{index}].path must be another one than those before it, not {shown(name)} again")
    return found, [warning for index, item in enumerate(items) for warning in unknown_members(index, item)]


def read_lora(place: str, item: Any) -> NamedLora:
    if not isinstance(item, dict):
        raise refused(f'{place} must be an object such as {{"path": "NAME", "scale": 1.0}}, not {shown(item)}')
    if PATH.name not in item:
        raise refused(f"{place}.path is missing")
    if isinstance(item[PATH.name], str) and "/" in item[PATH.name]:
        raise refused(f"{place}.path must be the name of a LoRA on this server: URLs and paths of files are not taken")
    name, scale = (read_member(place, parameter, item) for parameter in MEMBERS)
    return NamedLora(name, float(scale))


def read_member(place: str, parameter: Parameter, item: Mapping[str, Any]) -> Any:
    value = item.get(parameter.name)
    if parameter.is_unset(value):
        return parameter.default
    try:
        return parameter.read(value)
    except InvalidParameter as error:
        raise refused(f"{place}.{error.message}") from error


def refused(message: str) -> InvalidParameter:
    return InvalidParameter(message, param="loras")


def unknown_members(index: int, item: Mapping[str, Any]) -> Iterator[str]:
    known = {parameter.name for parameter in MEMBERS}
    unknown = (key for key in item if key not in known)
    yield from (f"loras[{index}].{ascii(key[:64])[1:-1]} is not known and was ignored" for key in unknown)
