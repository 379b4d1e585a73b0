"""What is kept of a submit's body for its history: the parameters that count, as they were sent, within a limit."""

import json
from collections.abc import Collection, Mapping
from typing import Any

MAX_KEPT_BYTES = 32_768
LONGEST_VALUES = (20_000, 2_000, 200, 0)


def kept_body(body: Mapping[str, Any], known: Collection[str]) -> str:
    """JSON of at most `MAX_KEPT_BYTES`: `body`, and its `input`, without members that are not `known`.

    Values that are too long, pictures above all, are replaced by their length.
    """
    texts = (as_json(kept_members(body, known, longest)) for longest in LONGEST_VALUES)
    return next((text for text in texts if len(text.encode()) <= MAX_KEPT_BYTES), "{}")


def kept_members(body: Mapping[str, Any], known: Collection[str], longest: int) -> dict[str, Any]:
    kept, nested = shortened(body, known, longest), body.get("input")
    return kept | {"input": shortened(nested, known, longest)} if isinstance(nested, dict) else kept


def shortened(members: Mapping[str, Any], known: Collection[str], longest: int) -> dict[str, Any]:
    return {name: short(value, longest) for name, value in members.items() if name in known}


def short(value: Any, longest: int) -> Any:
    """`value`, or, where it takes more than `longest` characters, how many it takes."""
    if not isinstance(value, str | list | dict):
        return value
    length = len(value if isinstance(value, str) else as_json(value))
    return f"<{length} characters>" if length > longest else value


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
