"""The components in a single file, each a source of tensors of its own."""

from bildwerk.weights.errors import MismatchedKeysError
from bildwerk.weights.safetensors_header import shown
from bildwerk.weights.scaled_weights import ScaledWeights
from bildwerk.weights.signatures import Component, component_prefixes
from bildwerk.weights.tensor_source import Section, TensorSource

BESIDE_SECTIONS = frozenset({"text_encoders.clip_l.logit_scale", "text_encoders.t5xxl.logit_scale"})
"""Constants of the text encoders that FLUX has no use for."""


def sections(files: TensorSource) -> dict[Component, TensorSource]:
    """The components in a file; none where it is something else, such as a LoRA.

    Raises `MismatchedKeysError` for a tensor that stands outside of every prefix in a file that has them.
    """
    prefixes = component_prefixes(files.shapes())
    if any(prefixes.values()):
        _check_nothing_else(files, tuple(prefixes.values()))
    return {component: ScaledWeights(Section(files, prefix)) for component, prefix in prefixes.items()}


def _check_nothing_else(files: TensorSource, prefixes: tuple[str, ...]) -> None:
    outside = [name for name in files.shapes() if not name.startswith(prefixes) and name not in BESIDE_SECTIONS]
    if outside:
        raise MismatchedKeysError(
            str(files.path), missing=(), unexpected=[shown(name) for name in sorted(outside)], misshapen=()
        )
