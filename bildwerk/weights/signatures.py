"""Which components a single file holds, decided by the names of its tensors alone. Needs no torch.

A file is one component under plain names, or several (or one), each behind a prefix of its own: the checkpoints that
ComfyUI writes.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from enum import StrEnum


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


def component_prefixes(names: Container[str]) -> dict[Component, str]:
    """names: of a file's tensors -> the prefix of each component in it; none where it is something else."""
    return dict(_prefixed(names)) or dict(_plain(names))


def _prefixed(names: Container[str]) -> Iterator[tuple[Component, str]]:
    for signature in SIGNATURES:
        if any(signature.prefix + key in names for key in signature.keys):
            yield signature.component, signature.prefix


def _plain(names: Container[str]) -> Iterator[tuple[Component, str]]:
    for signature in SIGNATURES:
        if any(key in names for key in signature.keys):
            yield signature.component, ""
