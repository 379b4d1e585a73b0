"""Where each part of a model lies, for cards from 80 GB down to 8: what fits is computed from shapes alone.

B batch, N joint tokens, C hidden size, H W pixels.

A *resident* part stays on the device.  A *streamed* one lies in the host's memory and visits the device block by block,
the next one on its way while one works (`streaming.py`).  The modulation runs once a prompt and the text encoder once
a text, so those are streamed first; the rest runs at every step, and its streaming is what a small card pays with.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import torch
from torch import nn

from bildwerk.engine.precision import Precision
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.layers import DoubleStreamBlock, Modulation, SingleStreamBlock
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.flux.t5 import Block as T5Block
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.uninitialized import Uninitialized

T = TypeVar("T")

GIB = 2**30
BYTES = 2
"""Of a number in bfloat16."""
LIBRARIES = GIB // 2
"""What cuBLAS, cuDNN and the gaps between allocations take."""
SLOTS = 2
"""Blocks of a streamed part that are on the device at once."""
DENOISING_WIDTHS = 20
"""Of C values a token: what a single-stream block holds at its widest, with the projections of q, k and v."""
FLOAT8_SCALE_SHARE = 1.001
"""A float32 scale a row beside thousands of values."""


@dataclass(frozen=True, slots=True)
class ModelShapes:
    """The four networks, by their numbers."""

    transformer: TransformerParams
    t5: T5Params
    clip: ClipParams
    autoencoder: AutoencoderParams


@dataclass(frozen=True, slots=True)
class Plan:
    """Which parts are streamed; all others are resident."""

    name: str
    precision: Precision
    streams_text: bool = False
    streams_modulation: bool = False
    streams_blocks: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.precision})"


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of all of it, and of its largest block."""

    total: int
    largest: int

    def on_device(self, streamed: bool) -> int:
        return SLOTS * self.largest if streamed else self.total


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes on the device under a plan, by part; `workspace` is what the widest moment needs beside weights."""

    plan: Plan
    blocks: int
    modulation: int
    text: int
    rest: int
    workspace: int

    @property
    def weights(self) -> int:
        return self.blocks + self.modulation + self.text + self.rest

    @property
    def total(self) -> int:
        return self.weights + self.workspace


BF16, FP8 = Precision.BF16, Precision.FP8
PLANS = (
    Plan("everything resident", BF16),
    Plan("text streamed", BF16, streams_text=True),
    Plan("text and modulation streamed", BF16, streams_text=True, streams_modulation=True),
    Plan("text streamed", FP8, streams_text=True),
    Plan("text and modulation streamed", FP8, streams_text=True, streams_modulation=True),
    Plan("everything streamed", FP8, streams_text=True, streams_modulation=True, streams_blocks=True),
    Plan("everything streamed", BF16, streams_text=True, streams_modulation=True, streams_blocks=True),
)
"""From the fastest exact one down; a plan is here only if it can be carried out."""


class DoesNotFitError(Exception):
    """No plan fits the device, with what the smallest one needs."""


def footprint(plan: Plan, shapes: ModelShapes, batch: int = 1, height: int = 1024, width: int = 1024) -> Footprint:
    """For pictures of this size, in pixels."""
    blocks, modulation, text, rest = _parts(shapes, plan.precision)
    return Footprint(
        plan,
        blocks.on_device(plan.streams_blocks),
        modulation.on_device(plan.streams_modulation),
        text.on_device(plan.streams_text),
        rest.total,
        LIBRARIES + batch * _workspace(shapes, height, width),
    )


def fitting(free: int, shapes: ModelShapes, precision: Precision | None = None, **size: int) -> Sequence[Plan]:
    """The plans that `free` bytes suffice for, best first; only those of one precision where one is given.

    size: `batch`, `height`, `width` of the largest request. Raises `DoesNotFitError` where there is none.
    """
    allowed = [plan for plan in PLANS if precision in (None, plan.precision)]
    needs = [footprint(plan, shapes, **size) for plan in allowed]
    fit = [need.plan for need in needs if need.total <= free]
    if not fit:
        least = min(needs, key=lambda need: need.total, default=None)
        wanted = f"{least.plan} needs {least.total / GIB:.1f} GiB" if least else f"there is no plan for {precision}"
        raise DoesNotFitError(f"{free / GIB:.1f} GiB of device memory are free, and {wanted}")
    return fit


def start_with_fallback(plans: Sequence[Plan], start: Callable[[Plan], T]) -> T:
    """What `start` makes of the first plan; where the memory runs out, of the second one, with a warning."""
    first, *others = plans
    try:
        return start(first)
    except torch.OutOfMemoryError:
        if not others:
            raise
        warnings.warn(f"{first} did not fit after all; going on with {others[0]}", ResourceWarning, stacklevel=2)
    return start(others[0])


def table(shapes: ModelShapes, cards: Iterable[int] = (80, 48, 24, 16, 12, 8)) -> list[tuple[str, ...]]:
    """A header and one row a card (in GB, of which a tenth is someone else's): the plan and its GiB, by part."""
    return [
        ("card", "plan", "blocks", "modulation", "text", "rest", "workspace", "total"),
        *(_row(shapes, card) for card in cards),
    ]


def _row(shapes: ModelShapes, card: int) -> tuple[str, ...]:
    try:
        need = footprint(fitting(int(0.9 * card * 10**9), shapes)[0], shapes)
    except DoesNotFitError as reason:
        return (f"{card} GB", str(reason))
    sizes = (need.blocks, need.modulation, need.text, need.rest, need.workspace, need.total)
    return (f"{card} GB", str(need.plan), *(f"{size / GIB:.2f}" for size in sizes))


@lru_cache(maxsize=16)
def _parts(shapes: ModelShapes, precision: Precision) -> tuple[Part, Part, Part, Part]:
    """Blocks without modulation, modulation, text encoder, and all that always stays."""
    with torch.device("meta"), Uninitialized():
        flux, t5 = Flux(shapes.transformer), T5Encoder(shapes.t5)
        others = ClipTextEncoder(shapes.clip), Autoencoder(shapes.autoencoder)
    modulations = [_numbers(part) for part in flux.modules() if isinstance(part, Modulation)]
    blocks = [_numbers(part) - _modulation_numbers(part) for part in flux.modules() if _is_block(part)]
    texts = [_numbers(part) for part in t5.modules() if isinstance(part, T5Block)]
    everything = sum(_numbers(network) for network in (flux, t5, *others))
    rest = everything - sum(modulations) - sum(blocks) - sum(texts)
    per_number = BYTES if precision is BF16 else FLOAT8_SCALE_SHARE
    return _part(blocks, per_number), _part(modulations, BYTES), _part(texts, BYTES), _part([rest], BYTES)


def _part(numbers: Sequence[int], bytes_each: float) -> Part:
    return Part(int(sum(numbers) * bytes_each), int(max(numbers) * bytes_each))


def _numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _modulation_numbers(block: nn.Module) -> int:
    return sum(_numbers(part) for part in block.children() if isinstance(part, Modulation))


def _is_block(module: nn.Module) -> bool:
    return isinstance(module, DoubleStreamBlock | SingleStreamBlock)


def _workspace(shapes: ModelShapes, height: int, width: int) -> int:
    """Of one picture: the wider of a step and of the decoder's last level, which holds its widest input twice."""
    patch = 2 * shapes.autoencoder.downscale
    tokens = 256 + (height // patch) * (width // patch)
    denoising = tokens * DENOISING_WIDTHS * shapes.transformer.hidden_size * BYTES
    finest, *coarser = shapes.autoencoder.channels
    decoding = height * width * (2 * max(finest, *coarser[:1]) + finest) * BYTES
    return max(denoising, decoding)
