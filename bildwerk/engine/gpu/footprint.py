"""How many bytes a model takes on a device under a plan: counted from its modules, which need no memory for that.

B batch, N joint tokens, C hidden size, H W pixels.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from bildwerk.engine.buckets import Bucket
from bildwerk.engine.gpu.plan import Plan
from bildwerk.engine.networks import ModelShapes, Networks
from bildwerk.engine.precision import Precision, text_linears, token_linears
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.layers import DoubleStreamBlock, Modulation, SingleStreamBlock
from bildwerk.flux.params import AutoencoderParams, TransformerParams
from bildwerk.flux.sampling import PATCH
from bildwerk.flux.t5 import Block as T5Block
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.pack import FOUR_BITS
from bildwerk.weights.quantized_linear import QuantizedLinear
from bildwerk.weights.uninitialized import Uninitialized

GIB = 2**30
BYTES = 2
"""Of a number in bfloat16."""
LIBRARIES = GIB // 2
"""What cuBLAS, cuDNN and the gaps between allocations take."""
SLOTS = 2
"""Blocks of a streamed part that are on the device at once."""
DENOISING_WIDTHS = {Precision.BF16: 20, Precision.INT4: 20, Precision.FP8: 26, Precision.INT8: 36}
"""Of C values a token: what a single-stream block holds at its widest, with the projections of q, k and v. In eight
bits, what is rounded is widened to float32 before (5 C values), and sums of integers are as wide (7 C, held twice)."""
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
    """Blocks without modulation, modulation, text encoder, all that always stays, and what unpacking the largest
    layer takes of the transformer and of the text encoder, which never run at once."""

    blocks: Part
    modulation: Part
    text: Part
    rest: int
    unpacking: int
    text_unpacking: int


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


@dataclass(frozen=True, slots=True)
class Measured:
    """What networks take by precision and text precision, for when their weights have been laid out already."""

    transformer: TransformerParams
    autoencoder: AutoencoderParams
    parts: Mapping[tuple[Precision, Precision], Parts]

    @classmethod
    def of(cls, networks: Networks, plans: Iterable[Plan]) -> "Measured":
        """networks: as they were read."""
        asked = dict.fromkeys((plan.precision, plan.text) for plan in plans)
        parts = {precisions: measure(networks, *precisions) for precisions in asked}
        return cls(networks.transformer.params, networks.autoencoder.params, parts)


Model = ModelShapes | Networks | Measured


def footprint(plan: Plan, model: Model, largest: Bucket = Bucket(1, 1024, 1024), *, records: bool = False) -> Footprint:  # noqa: B008
    """model: its shapes, for weights in bfloat16, or the networks, for weights as they are, or what they measured.

    With `records`, graphs keep memory of their own beside that of what runs without.
    """
    parts = _parts(plan, model)
    denoising, decoding = _workspace(*_params(model), largest, plan.precision)
    workspace = max(denoising + parts.unpacking, decoding, parts.text_unpacking)
    return Footprint(
        plan,
        parts.blocks.on_device(plan.streams_blocks),
        parts.modulation.on_device(plan.streams_modulation),
        parts.text.on_device(plan.streams_text),
        parts.rest,
        LIBRARIES + workspace * (2 if records else 1),
    )


def measure(networks: Networks, precision: Precision, text: Precision = Precision.BF16) -> Parts:
    """As the networks will be once their layers are in these; those that are packed in their file stay so."""
    shrunk = _sizes(networks.transformer, precision) | _text_sizes(networks.t5, text)

    def size(module: nn.Module, apart: tuple[type[nn.Module], ...] = ()) -> int:
        return sum(shrunk.get(id(tensor), tensor.nbytes) for tensor in tensors_of(module, apart))

    flux, t5 = networks.transformer, networks.t5
    blocks = [size(part, (Modulation,)) for part in blocks_of(flux)]
    modulations = [size(part) for part in modulations_of(flux)]
    texts = [size(part, (nn.Embedding,)) for part in text_blocks_of(t5)]
    everything = sum(size(network) for network in (flux, t5, networks.clip, networks.autoencoder))
    rest = everything - sum(blocks) - sum(modulations) - sum(texts)
    unpacked = _packed_values(flux) + ([] if precision is not Precision.INT4 else _values(token_linears(flux)))
    text_unpacked = _packed_values(t5) + ([] if text is Precision.BF16 else _values(text_linears(t5)))
    return Parts(
        Part.of(blocks),
        Part.of(modulations),
        Part.of(texts),
        rest,
        UNPACKED_BYTES * max(unpacked, default=0),
        UNPACKED_BYTES * max(text_unpacked, default=0),
    )


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


def _sizes(flux: Flux, precision: Precision) -> dict[int, int]:
    """Bytes by the id of each weight that will be rounded, with its scales."""
    if precision is Precision.BF16:
        return {}
    weights = [linear.weight for _, _, linear in token_linears(flux)]
    if precision is Precision.INT4:
        whole = [weight for weight in weights if weight.shape[1] % FOUR_BITS.block_values == 0]
        return {id(weight): weight.numel() // FOUR_BITS.block_values * FOUR_BITS.block_bytes for weight in whole}
    return {id(weight): _eight_bit_size(weight) for weight in weights}


def _text_sizes(t5: T5Encoder, text: Precision) -> dict[int, int]:
    weights = (linear.weight for _, _, linear in text_linears(t5))
    return {} if text is Precision.BF16 else {id(weight): _eight_bit_size(weight) for weight in weights}


def _eight_bit_size(weight: Tensor) -> int:
    return weight.numel() + SCALE_BYTES * weight.shape[0]


def _values(layers: Iterable[tuple[nn.Module, str, nn.Linear]]) -> list[int]:
    return [linear.weight.numel() for _, _, linear in layers]


def _packed_values(network: nn.Module) -> list[int]:
    packed = (part for part in network.modules() if isinstance(part, QuantizedLinear))
    return [part.in_features * part.out_features for part in packed]


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


def _parts(plan: Plan, model: Model) -> Parts:
    if isinstance(model, Measured):
        return model.parts[plan.precision, plan.text]
    if isinstance(model, ModelShapes):
        return _parts_of_shapes(model, plan.precision, plan.text)
    return measure(model, plan.precision, plan.text)


@lru_cache(maxsize=16)
def _parts_of_shapes(shapes: ModelShapes, precision: Precision, text: Precision) -> Parts:
    return measure(networks_without_memory(shapes), precision, text)


def _params(model: Model) -> tuple[TransformerParams, AutoencoderParams]:
    if isinstance(model, ModelShapes | Measured):
        return model.transformer, model.autoencoder
    return model.transformer.params, model.autoencoder.params


def _workspace(
    transformer: TransformerParams, autoencoder: AutoencoderParams, largest: Bucket, precision: Precision
) -> tuple[int, int]:
    """Of a step of all pictures, and of one picture's decoding at its last level, which holds its widest input
    twice."""
    patch = PATCH * autoencoder.downscale
    tokens = TEXT_TOKENS + (largest.height // patch) * (largest.width // patch)
    denoising = largest.batch * tokens * DENOISING_WIDTHS[precision] * transformer.hidden_size * BYTES
    finest, *coarser = autoencoder.channels
    decoding = largest.height * largest.width * (2 * max(finest, *coarser[:1]) + finest) * BYTES
    return denoising, decoding
