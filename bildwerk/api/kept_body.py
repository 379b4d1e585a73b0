"""What is kept of a submit's body for its history: the parameters that count, as they were sent, within a limit."""

import json
from collections.abc import Collection, Mapping
from typing import Any

MAX_KEPT_BYTES = 65_536
LONGEST_VALUES = (20_000, 2_000, 200, 0)
MAX_PROMPT_CHARACTERS = 10_000
"""A prompt of that length takes 40,000 bytes in emoji, and 60,000 in control characters, which JSON escapes."""


def kept_body(body: Mapping[str, Any], known: Collection[str]) -> str:
    """JSON of at most `MAX_KEPT_BYTES`: `body`, and its `input`, without members that are not `known`.

    Values that are too long, pictures above all, are replaced by their length. The prompt that counts is kept whole.
    """
    texts = (as_json(kept_members(body, known, longest)) for longest in LONGEST_VALUES)
    return next((text for text in texts if len(text.encode()) <= MAX_KEPT_BYTES), "{}")


def kept_members(body: Mapping[str, Any], known: Collection[str], longest: int) -> dict[str, Any]:
    nested = body.get("input")
    if not isinstance(nested, dict):
        return shortened(body, known, longest)
    beside = shortened(body, known, longest, keeps_prompt="prompt" not in nested)
    return beside | {"input": shortened(nested, known, longest)}


def shortened(
    members: Mapping[str, Any], known: Collection[str], longest: int, *, keeps_prompt: bool = True
) -> dict[str, Any]:
    kept = {name: short(value, longest) for name, value in members.items() if name in known}
    prompt = members.get("prompt")
    is_whole = keeps_prompt and isinstance(prompt, str) and len(prompt) <= MAX_PROMPT_CHARACTERS
    return kept | {"prompt": prompt} if is_whole else kept


def short(value: Any, longest: int) -> Any:
    """`value`, or, where it takes more than `longest` characters, how many it takes."""
    if not isinstance(value, str | list | dict):
        return value
    length = len(value if isinstance(value, str) else as_json(value))
    return f"<{length} characters>" if length > longest else value


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
