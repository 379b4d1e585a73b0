"""The tensors of the real FLUX.1 [schnell] files, from the lists beside this file."""

import json
from pathlib import Path

KEYS = Path(__file__).parent / "keys"


def real_keys(component: str) -> dict[str, tuple[int, ...]]:
    """Each tensor's name and shape; a `#` in a list stands for each index from 0 on."""
    listed = json.loads((KEYS / f"{component}.json").read_text())
    counts = {prefix.removesuffix("#"): count for prefix, count in listed["repeats"].items()}
    return {
        name: tuple(shape)
        for pattern, shape in listed["shapes"].items()
        for name in _expanded(pattern, counts.get(pattern.partition("#")[0], 1))
    }


def _expanded(pattern: str, count: int) -> list[str]:
    return [pattern.replace("#", str(index)) for index in range(count)] if "#" in pattern else [pattern]
