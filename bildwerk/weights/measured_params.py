"""The Params of a component whose file came without a configuration, read off the shapes of its tensors.

A finetune or a variant so loads by its own numbers, whatever it is called. What no shape tells (the axes of the
rotary embedding, the scale of the latents) is known for FLUX's sizes only, and other sizes are refused.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import TypeVar

from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.layouts import autoencoder_layouts, clip_layouts, t5_layouts, transformer_layouts
from bildwerk.weights.mapping import Layout
from bildwerk.weights.tensor_source import TensorSource

AXES_DIM = {128: (16, 56, 56)}
"""By the head dimension."""
LATENT_CHANNELS = 16
CLIP_HEAD_DIM = 64
MAX_BLOCKS = 512

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Measure:
    """Shapes by the names that the modules here give to tensors, whatever the layout of the file."""

    files: TensorSource
    layout: Layout
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, files: TensorSource, layouts: Sequence[Layout], telling: str) -> "Measure":
        """In the first of the layouts by which the file has the tensor `telling`."""
        shapes = files.shapes()
        for layout in layouts:
            if layout.source_of(telling) in shapes:
                return cls(files, layout, shapes)
        raise MismatchedKeysError(str(files.path), missing=[telling], unexpected=(), misshapen=())

    def has(self, target: str) -> bool:
        return self.layout.source_of(target) in self.shapes

    def side(self, target: str, axis: int, dimensions: int = 2) -> int:
        """The length of a tensor along an axis. Raises `WeightsError` where it is missing or has no such axis."""
        source = self.layout.source_of(target)
        if source not in self.shapes:
            raise MismatchedKeysError(str(self.files.path), missing=[source], unexpected=(), misshapen=())
        shape = self.shapes[source]
        if len(shape) != dimensions or 0 in shape:
            raise WeightsError(f"{self.files.path}: {source} has the shape {list(shape)}, not {dimensions} dimensions")
        return shape[axis]

    def number_of(self, pattern: str) -> int:
        """How many of the tensors are there that a pattern with `#` names, from 0 on."""
        present = takewhile(lambda index: self.has(pattern.replace("#", str(index))), count())
        return sum(1 for _ in zip(present, range(MAX_BLOCKS), strict=False))

    def checked(self, make: Callable[[], P]) -> P:
        """The Params, whose own rules are then the file's fault."""
        try:
            return make()
        except ValueError as error:
            raise WeightsError(f"{self.files.path}: {error}") from error


def measure_transformer(files: TensorSource) -> TransformerParams:
    """Raises `WeightsError`, as do all of these."""
    found = Measure.of(files, transformer_layouts(TransformerParams()), "img_in.weight")
    depth = found.number_of("double_blocks.#.img_mod.lin.weight")
    width = found.side("img_in.weight", 0)
    mlp = found.side("double_blocks.0.img_mlp.0.weight", 0)
    head_dim = found.side("double_blocks.0.img_attn.norm.query_norm.scale", 0, dimensions=1)
    if head_dim not in AXES_DIM:
        raise WeightsError(
            f"{files.path} has attention heads of dimension {head_dim}. Without a configuration file only those of "
            f"{', '.join(map(str, AXES_DIM))} are understood"
        )
    return found.checked(
        lambda: TransformerParams(
            in_channels=found.side("img_in.weight", 1),
            out_channels=found.side("final_layer.linear.weight", 0),
            vec_in_dim=found.side("vector_in.in_layer.weight", 1),
            context_in_dim=found.side("txt_in.weight", 1),
            hidden_size=width,
            mlp_ratio=mlp / width,
            num_heads=width // head_dim,
            depth=depth,
            depth_single_blocks=found.number_of("single_blocks.#.modulation.lin.weight"),
            axes_dim=AXES_DIM[head_dim],
            qkv_bias=found.has("double_blocks.0.img_attn.qkv.bias"),
            guidance_embed=found.has("guidance_in.in_layer.weight"),
        )
    )


def measure_autoencoder(files: TensorSource) -> AutoencoderParams:
    found = Measure.of(files, autoencoder_layouts(AutoencoderParams()), "encoder.down.0.block.0.conv1.weight")
    first = "encoder.down.#.block.0.conv1.weight"
    latent_channels = found.side("decoder.conv_in.weight", 1, dimensions=4)
    if latent_channels != LATENT_CHANNELS:
        raise WeightsError(
            f"{files.path} has {latent_channels} latent channels. Without a configuration file only FLUX's "
            f"{LATENT_CHANNELS} are understood"
        )
    return found.checked(
        lambda: AutoencoderParams(
            in_channels=found.side("encoder.conv_in.weight", 1, dimensions=4),
            out_channels=found.side("decoder.conv_out.weight", 0, dimensions=4),
            channels=tuple(
                found.side(first.replace("#", str(level)), 0, dimensions=4) for level in range(found.number_of(first))
            ),
            num_res_blocks=found.number_of("encoder.down.0.block.#.conv1.weight"),
            z_channels=latent_channels,
        )
    )


def measure_t5(files: TensorSource) -> T5Params:
    found = Measure.of(files, t5_layouts(), "shared.weight")
    layer = "encoder.block.0.layer"
    heads = found.side(f"{layer}.0.SelfAttention.relative_attention_bias.weight", 1)
    return found.checked(
        lambda: T5Params(
            vocab_size=found.side("shared.weight", 0),
            d_model=found.side("shared.weight", 1),
            d_kv=found.side(f"{layer}.0.SelfAttention.q.weight", 0) // heads,
            d_ff=found.side(f"{layer}.1.DenseReluDense.wi_0.weight", 0),
            num_layers=found.number_of("encoder.block.#.layer.0.SelfAttention.q.weight"),
            num_heads=heads,
            relative_attention_num_buckets=found.side(f"{layer}.0.SelfAttention.relative_attention_bias.weight", 0),
        )
    )


def measure_clip(files: TensorSource) -> ClipParams:
    embedding = "text_model.embeddings.token_embedding.weight"
    found = Measure.of(files, clip_layouts(), embedding)
    width = found.side(embedding, 1)
    return found.checked(
        lambda: ClipParams(
            vocab_size=found.side(embedding, 0),
            hidden_size=width,
            intermediate_size=found.side("text_model.encoder.layers.0.mlp.fc1.weight", 0),
            num_hidden_layers=found.number_of("text_model.encoder.layers.#.mlp.fc1.weight"),
            num_attention_heads=max(1, width // CLIP_HEAD_DIM),
            max_position_embeddings=found.side("text_model.embeddings.position_embedding.weight", 0),
        )
    )
