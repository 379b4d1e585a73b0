"""One parameter of a request: what is legal, how it is published, and how a JSON value becomes a legal one."""

import json
from dataclasses import dataclass
from typing import Any

from bildwerk.domain.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter by its main name. `kind` is its JSON type; `None` as default means that it may be left out."""

    name: str
    kind: str
    title: str
    description: str
    synonyms: tuple[str, ...] = ()
    default: Any = None
    required: bool = False
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    options: tuple[str, ...] = ()
    form: str | None = None
    format: str | None = None
    examples: tuple[str, ...] = ()
    component: str | None = None
    accept: str | None = None
    step: int | None = None
    members: tuple["Parameter", ...] = ()
    """Of the objects in a list."""
    max_items: int | None = None
    listed: bool = True
    """Whether the published schema names it; the others are only tolerated."""
    no_effect: str | None = None
    """Why the model cannot use it. Such a value is checked, dropped, and named in the warnings."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.synonyms)

    @property
    def legal(self) -> str:
        """The legal values, as the end of the sentence '… must be'."""
        if self.options or self.form:
            return self.form or "one of " + ", ".join(self.options)
        return {
            "boolean": "true or false",
            "integer": f"an integer{self._range}",
            "number": f"a number{self._range}",
            "string": f"a text{self._length}",
            "array": f"a list of at most {self.max_items} objects",
        }[self.kind]

    @property
    def _range(self) -> str:
        return "" if self.minimum is None or self.maximum is None else f" from {self.minimum:g} to {self.maximum:.12g}"

    @property
    def _length(self) -> str:
        return "" if self.max_length is None else f" of {self.min_length or 0} to {self.max_length} characters"

    def is_unset(self, value: Any) -> bool:
        """Whether `value` stands for 'not given': null where allowed, and an empty text where one is optional."""
        if self.kind == "string" and not self.required:
            return value in (None, "")
        return self.nullable and value is None

    def read(self, value: Any) -> Any:
        """`value` as a legal value of this parameter. Raises `InvalidParameter`."""
        return READERS[self.kind](self, value)

    def refuse(self, found: str) -> InvalidParameter:
        return InvalidParameter(f"{self.name} must be {self.legal}, not {found}", param=self.name)


def read_boolean(parameter: Parameter, value: Any) -> bool:
    if not isinstance(value, bool):
        raise parameter.refuse(shown(value))
    return value


def read_integer(parameter: Parameter, value: Any) -> int:
    number = read_number(parameter, value)
    if number != int(number):
        raise parameter.refuse(shown(value))
    return int(number)


def read_number(parameter: Parameter, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise parameter.refuse(shown(value))
    too_small = parameter.minimum is not None and value < parameter.minimum
    too_large = parameter.maximum is not None and value > parameter.maximum
    if too_small or too_large:
        raise parameter.refuse(shown(value))
    return value


def read_string(parameter: Parameter, value: Any) -> str:
    if not isinstance(value, str):
        raise parameter.refuse(shown(value))
    if "\x00" in value:
        raise parameter.refuse("one with a NUL character")
    if not (parameter.min_length or 0) <= len(value) <= (parameter.max_length or len(value)):
        raise parameter.refuse(f"{len(value)} characters")
    if parameter.min_length and not value.strip():
        raise parameter.refuse("only spaces")
    if parameter.options and value not in parameter.options:
        raise parameter.refuse(shown(value))
    return value


def read_array(parameter: Parameter, value: Any) -> list[Any]:
    """A list of a legal length; what is in it is another's to read."""
    if not isinstance(value, list):
        raise parameter.refuse(shown(value))
    if len(value) > (parameter.max_items or 0):
        raise parameter.refuse(f"one of {len(value)}")
    return value


READERS = {
    "boolean": read_boolean,
    "integer": read_integer,
    "number": read_number,
    "string": read_string,
    "array": read_array,
}


def shown(value: Any) -> str:
    """`value` for an error message: short, on one line, and without the text of a prompt."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{len(text)} characters"
