"""Which components a single file holds, decided by the names of its tensors alone.

A file is one component under plain names, or several (or one), each behind a prefix of its own: the checkpoints that
ComfyUI writes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bildwerk.weights.errors import MismatchedKeysError
from bildwerk.weights.safetensors_header import shown
from bildwerk.weights.scaled_weights import ScaledWeights
from bildwerk.weights.tensor_source import Section, TensorSource


class Component(StrEnum):
    """What of a model has weights, by the name of its folder in the layout of diffusers, in the order of its use."""

    CLIP = "text_encoder"
    T5 = "text_encoder_2"
    TRANSFORMER = "transformer"
    AUTOENCODER = "vae"


@dataclass(frozen=True, slots=True)
class Signature:
    """A component is there where one of its `keys`, one for each layout, follows its prefix or stands plain."""

    component: Component
    prefix: str
    keys: tuple[str, ...]


SIGNATURES = (
    Signature(Component.TRANSFORMER, "model.diffusion_model.", ("img_in.weight", "x_embedder.weight")),
    Signature(Component.AUTOENCODER, "vae.", ("decoder.conv_in.weight",)),
    Signature(
        Component.CLIP,
        "text_encoders.clip_l.transformer.",
        ("text_model.final_layer_norm.weight", "final_layer_norm.weight"),
    ),
    Signature(
        Component.T5,
        "text_encoders.t5xxl.transformer.",
        ("encoder.final_layer_norm.weight", "enc.output_norm.weight"),
    ),
)
BESIDE_SECTIONS = frozenset({"text_encoders.clip_l.logit_scale", "text_encoders.t5xxl.logit_scale"})
"""Constants of the text encoders that FLUX has no use for."""


def sections(files: TensorSource) -> dict[Component, TensorSource]:
    """The components in a file; none where it is something else, such as a LoRA.

    Raises `MismatchedKeysError` for a tensor that stands outside of every prefix in a file that has them.
    """
    names = files.shapes()
    prefixes = dict(_prefixed(names)) or dict(_plain(names))
    if any(prefixes.values()):
        _check_nothing_else(files, tuple(prefixes.values()))
    return {component: ScaledWeights(Section(files, prefix)) for component, prefix in prefixes.items()}


def _prefixed(names: Mapping[str, object]) -> Iterator[tuple[Component, str]]:
    for signature in SIGNATURES:
        if any(signature.prefix + key in names for key in signature.keys):
            yield signature.component, signature.prefix


def _plain(names: Mapping[str, object]) -> Iterator[tuple[Component, str]]:
    for signature in SIGNATURES:
        if any(key in names for key in signature.keys):
            yield signature.component, ""


def _check_nothing_else(files: TensorSource, prefixes: tuple[str, ...]) -> None:
    outside = [name for name in files.shapes() if not name.startswith(prefixes) and name not in BESIDE_SECTIONS]
    if outside:
        raise MismatchedKeysError(
            str(files.path), missing=(), unexpected=[shown(name) for name in sorted(outside)], misshapen=()
        )
