"""How many bytes a model takes on a device under a plan: counted from its modules, which need no memory for that.

B batch, N joint tokens, C hidden size, H W pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from bildwerk.engine.buckets import Bucket
from bildwerk.engine.gpu.plan import Plan
from bildwerk.engine.networks import ModelShapes, Networks
from bildwerk.engine.precision import Precision, token_linears
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.layers import DoubleStreamBlock, Modulation, SingleStreamBlock
from bildwerk.flux.params import AutoencoderParams, TransformerParams
from bildwerk.flux.sampling import PATCH
from bildwerk.flux.t5 import Block as T5Block
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.quantized_linear import QuantizedLinear
from bildwerk.weights.uninitialized import Uninitialized

GIB = 2**30
BYTES = 2
"""Of a number in bfloat16."""
LIBRARIES = GIB // 2
"""What cuBLAS, cuDNN and the gaps between allocations take."""
SLOTS = 2
"""Blocks of a streamed part that are on the device at once."""
DENOISING_WIDTHS = 20
"""Of C values a token: what a single-stream block holds at its widest, with the projections of q, k and v."""
TEXT_TOKENS = 256
SCALE_BYTES = 4
"""Of a row of eight-bit weights."""
UNPACKED_BYTES = 4 + BYTES
"""Of a value while its packed layer is unpacked: in float32, and then as it is used."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of all of it, and of its largest block."""

    total: int
    largest: int

    @classmethod
    def of(cls, sizes: Sequence[int]) -> "Part":
        return cls(sum(sizes), max(sizes, default=0))

    def on_device(self, streamed: bool) -> int:
        return SLOTS * self.largest if streamed else self.total


@dataclass(frozen=True, slots=True)
class Parts:
    """Blocks without modulation, modulation, text encoder, all that always stays, and what unpacking a layer takes."""

    blocks: Part
    modulation: Part
    text: Part
    rest: int
    unpacking: int


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


Model = ModelShapes | Networks


def footprint(plan: Plan, model: Model, largest: Bucket = Bucket(1, 1024, 1024), *, records: bool = False) -> Footprint:  # noqa: B008
    """model: its shapes, for weights in bfloat16, or the networks themselves, for weights as they are.

    With `records`, graphs keep memory of their own beside that of what runs without.
    """
    parts = (
        _parts_of_shapes(model, plan.precision) if isinstance(model, ModelShapes) else measure(model, plan.precision)
    )
    workspace = _workspace(*_params(model), largest) + parts.unpacking
    return Footprint(
        plan,
        parts.blocks.on_device(plan.streams_blocks),
        parts.modulation.on_device(plan.streams_modulation),
        parts.text.on_device(plan.streams_text),
        parts.rest,
        LIBRARIES + workspace * (2 if records else 1),
    )


def measure(networks: Networks, precision: Precision) -> Parts:
    """As the networks will be once their layers are in that precision; those that are packed in their file stay so."""
    shrunk = {} if precision is Precision.BF16 else _eight_bit_sizes(networks.transformer)

    def size(module: nn.Module, apart: tuple[type[nn.Module], ...] = ()) -> int:
        return sum(shrunk.get(id(tensor), tensor.nbytes) for tensor in tensors_of(module, apart))

    flux, t5 = networks.transformer, networks.t5
    blocks = [size(part, (Modulation,)) for part in blocks_of(flux)]
    modulations = [size(part) for part in modulations_of(flux)]
    texts = [size(part, (nn.Embedding,)) for part in text_blocks_of(t5)]
    everything = sum(size(network) for network in (flux, t5, networks.clip, networks.autoencoder))
    rest = everything - sum(blocks) - sum(modulations) - sum(texts)
    packed = [part for network in (flux, t5) for part in network.modules() if isinstance(part, QuantizedLinear)]
    unpacking = max((part.in_features * part.out_features * UNPACKED_BYTES for part in packed), default=0)
    return Parts(Part.of(blocks), Part.of(modulations), Part.of(texts), rest, unpacking)


def blocks_of(flux: Flux) -> list[nn.Module]:
    """What runs at every step, in the order of its calls."""
    return [part for part in flux.modules() if isinstance(part, DoubleStreamBlock | SingleStreamBlock)]


def modulations_of(flux: Flux) -> list[nn.Module]:
    return [part for part in flux.modules() if isinstance(part, Modulation)]


def text_blocks_of(t5: T5Encoder) -> list[nn.Module]:
    return [part for part in t5.modules() if isinstance(part, T5Block)]


def tensors_of(module: nn.Module, apart: tuple[type[nn.Module], ...] = ()) -> Iterable[Tensor]:
    """Parameters and buffers of a module, but not of those of the classes `apart` inside of it."""
    if not isinstance(module, apart):
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
        for child in module.children():
            yield from tensors_of(child, apart)


def _eight_bit_sizes(flux: Flux) -> dict[int, int]:
    """Bytes by the id of each weight that will be rounded, with the scales of its rows."""
    weights = (linear.weight for _, _, linear in token_linears(flux))
    return {id(weight): weight.numel() + SCALE_BYTES * weight.shape[0] for weight in weights}


@dataclass(frozen=True, slots=True)
class _Made:
    transformer: Flux
    t5: T5Encoder
    clip: ClipTextEncoder
    autoencoder: Autoencoder


def networks_without_memory(shapes: ModelShapes) -> Networks:
    """In bfloat16, on the meta device."""
    with torch.device("meta"), Uninitialized():
        made = _Made(
            Flux(shapes.transformer),
            T5Encoder(shapes.t5),
            ClipTextEncoder(shapes.clip),
            Autoencoder(shapes.autoencoder),
        )
    for network in (made.transformer, made.t5, made.clip, made.autoencoder):
        network.to(torch.bfloat16).requires_grad_(False)
    return made


@lru_cache(maxsize=16)
def _parts_of_shapes(shapes: ModelShapes, precision: Precision) -> Parts:
    return measure(networks_without_memory(shapes), precision)


def _params(model: Model) -> tuple[TransformerParams, AutoencoderParams]:
    if isinstance(model, ModelShapes):
        return model.transformer, model.autoencoder
    return model.transformer.params, model.autoencoder.params


def _workspace(transformer: TransformerParams, autoencoder: AutoencoderParams, largest: Bucket) -> int:
    """The wider of a step of all pictures, and of one picture's decoding at its last level, which holds its widest
    input twice."""
    patch = PATCH * autoencoder.downscale
    tokens = TEXT_TOKENS + (largest.height // patch) * (largest.width // patch)
    denoising = largest.batch * tokens * DENOISING_WIDTHS * transformer.hidden_size * BYTES
    finest, *coarser = autoencoder.channels
    decoding = largest.height * largest.width * (2 * max(finest, *coarser[:1]) + finest) * BYTES
    return max(denoising, decoding)
