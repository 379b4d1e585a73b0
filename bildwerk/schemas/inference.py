"""The JSON schema of values that are made in one place: read off samples that this place made, and so never another."""

from collections.abc import Sequence
from typing import Any

KINDS = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def schema_of(*samples: Any) -> dict[str, Any]:
    """What all samples are: their types, the members that some of them have, and those that every one has.

    Of an empty object or list nothing is said but that it is one.
    """
    kinds = {KINDS.get(type(sample), "object") for sample in samples}
    if "number" in kinds:
        kinds.discard("integer")
    schema: dict[str, Any] = {"type": kinds.pop() if len(kinds) == 1 else sorted(kinds)}
    members = [member for sample in samples if isinstance(sample, list) for member in sample]
    if members:
        schema["items"] = schema_of(*members)
    return schema | object_keywords([sample for sample in samples if isinstance(sample, dict)])


def object_keywords(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for sample in samples for name in sample)
    if not names:
        return {}
    return {
        "required": [name for name in names if all(name in sample for sample in samples)],
        "properties": {name: schema_of(*(sample[name] for sample in samples if name in sample)) for name in names},
    }
