"""JSON files that came with weights: of limited size, and an error that names the file."""

import json
from pathlib import Path
from typing import Any

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.place import check_place


def read_text(path: Path, max_bytes: int) -> str:
    """The text of a file. Raises `WeightsError` where it is missing, too large or not UTF-8."""
    check_place(path)
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise WeightsError(f"{path} is larger than {max_bytes:,} bytes, too large for what it should be")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path} is not UTF-8 text") from error


def read_json(path: Path, max_bytes: int) -> dict[str, Any]:
    """The object in a JSON file. Raises `WeightsError` where it is none."""
    try:
        found = json.loads(read_text(path, max_bytes))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} holds no JSON object")
    return found
