"""The shapes that requests come in, and which of them a server should be warm for."""

from collections.abc import Sequence
from dataclasses import dataclass

from bildwerk.engine.fitting import is_paintable
from bildwerk.engine.request import EngineSpec

ROW_BUDGET = 8_448
"""Tokens in flight, of all pictures of a batch together, beyond which more pictures at once bring nothing. With 256 of
text that is one picture of 1024x1024 (4,352 tokens, and two are 8,704), three of 768x768, six of 512x512, 16 of
256x256; the next one would be far from it each time, so that it does not matter how tokens are counted."""
MAX_BATCH = 4
"""Pictures; what a worker is handed at once."""
PATCH_PIXELS = 16
"""A side in pixels of what one token stands for in FLUX.1: near enough for a budget."""
USUAL_SIDES = ((1.0, 1.0), (0.5, 0.5), (0.75, 1.0), (1.0, 0.75))
"""Height and width, as parts of the model's own."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many pictures at once, and their sides in pixels."""

    batch: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.width}x{self.height}"


def usual_buckets(spec: EngineSpec) -> Sequence[Bucket]:
    """The model's own size, half of it, and 3:4 both ways: one picture each, and as many as are worth it at once."""
    sizes = [_size(spec, *sides) for sides in USUAL_SIDES]
    paintable = dict.fromkeys(size for size in sizes if is_paintable(spec, size[1], size[0]))
    return [Bucket(batch, *size) for size in paintable for batch in _batches(spec, *size)]


def _size(spec: EngineSpec, height: float, width: float) -> tuple[int, int]:
    multiple = spec.size_multiple
    return int(spec.default_height * height) // multiple * multiple, int(
        spec.default_width * width
    ) // multiple * multiple


def _batches(spec: EngineSpec, height: int, width: int) -> Sequence[int]:
    tokens = spec.max_text_tokens + (height // PATCH_PIXELS) * (width // PATCH_PIXELS)
    return sorted({1, max(1, min(MAX_BATCH, ROW_BUDGET // tokens))})
