"""One component's configuration file, read setting by setting with types and limits.

Keys that nobody asks for are ignored, and nothing named in a file is ever looked up or run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.json_file import read_json

MAX_BYTES = 2**20
MAX_WIDTH = 2**20
MAX_DEPTH = 512


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Each method reads one setting; `default` is what the library that defined the file assumes where it is absent.

    Every method raises `WeightsError`, which names the file, the key, the value and what would be legal.
    """

    path: Path
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(path, read_json(path, MAX_BYTES))

    def width(self, key: str, default: int) -> int:
        return self._count(key, self._get(key, default), MAX_WIDTH)

    def depth(self, key: str, default: int, minimum: int = 1) -> int:
        return self._count(key, self._get(key, default), MAX_DEPTH, minimum)

    def widths(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        values = self._get(key, list(default))
        if not isinstance(values, list) or not 0 < len(values) <= MAX_DEPTH:
            raise self._illegal(key, values, "a list of numbers")
        return tuple(self._count(key, value, MAX_WIDTH) for value in values)

    def _count(self, key: str, value: Any, maximum: int, minimum: int = 1) -> int:
        if type(value) is int and minimum <= value <= maximum:
            return value
        raise self._illegal(key, value, f"a whole number from {minimum} to {maximum:,}")

    def token_id(self, key: str, default: int) -> int:
        return self._count(key, self._get(key, default), MAX_WIDTH**2, minimum=0)

    def number(self, key: str, default: float) -> float:
        value = self._get(key, default)
        if type(value) in {int, float} and math.isfinite(value):
            return float(value)
        raise self._illegal(key, value, "a finite number")

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key, default)
        if isinstance(value, bool):
            return value
        raise self._illegal(key, value, "true or false")

    def choice(self, key: str, legal: tuple[str, ...], default: str) -> str:
        value = self._get(key, default)
        if isinstance(value, str) and value in legal:
            return value
        raise self._illegal(key, value, " or ".join(map(repr, legal)))

    def fixed(self, key: str, implemented: Any, default: Any) -> None:
        """A setting of which only one value is implemented here."""
        value = self._get(key, default)
        if value != implemented:
            raise self._illegal(key, value, f"{implemented!r}, the only value implemented")

    def _get(self, key: str, default: Any) -> Any:
        value = self.settings.get(key)
        return default if value is None else value

    def _illegal(self, key: str, value: Any, legal: str) -> WeightsError:
        return WeightsError(f"{self.path}: {key} is {ascii(value)[:80]}, but must be {legal}")
