"""The toy model with random weights, on an imitated GPU."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bildwerk.engine.buckets import Bucket
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.gpu.accelerator import Accelerator, imitation
from bildwerk.engine.placed_source import PlacedSource
from bildwerk.engine.request import EngineSpec, Event, GeneratedImage, GenerateRequest
from tests.parity.tiny_pipeline import TEXT_TOKENS

PLENTY = 80 * 10**9
BUCKETS = (Bucket(1, 24, 32), Bucket(2, 24, 32))
REQUEST = GenerateRequest("the cat and a dog", width=32, height=24, steps=4, seed=11, id="one")
LEVELS = 1.0
"""Of 255 by which two pictures in bfloat16 may differ on average where only the order of sums does; those of two seeds
differ by tens."""


def toy_spec(folder: Path, dtype: str = "bfloat16") -> EngineSpec:
    return EngineSpec(
        "toy",
        folder,
        default_width=32,
        default_height=24,
        max_text_tokens=TEXT_TOKENS,
        size_multiple=8,
        min_side=8,
        max_side=256,
        dtype=dtype,
    )


def on_gpu(
    spec: EngineSpec, gpu: Accelerator | None = None, buckets: Sequence[Bucket] = BUCKETS, **options: Any
) -> FluxEngine:
    return FluxEngine.load(spec, accelerator=gpu or imitation(PLENTY), buckets=buckets, **options)


def source_of(engine: FluxEngine) -> PlacedSource:
    assert isinstance(engine.source, PlacedSource)
    return engine.source


def pictures(events: Iterable[Event]) -> list[GeneratedImage]:
    return [event for event in events if isinstance(event, GeneratedImage)]


def pixels(picture: GeneratedImage) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(picture.data))).astype(int)


def painted(engine: FluxEngine, *requests: GenerateRequest) -> list[np.ndarray]:
    return [pixels(picture) for picture in pictures(engine.generate(requests))]


def are_alike(some: Sequence[np.ndarray], others: Sequence[np.ndarray], levels: float = LEVELS) -> bool:
    return len(some) == len(others) and all(
        abs(one - other).mean() <= levels for one, other in zip(some, others, strict=True)
    )
