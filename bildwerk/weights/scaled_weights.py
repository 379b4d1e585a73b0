"""8-bit weights, floating point or whole numbers, and the small tensors that files keep beside them.

`X.weight` in eight bits is the true weight divided by a scale, which is `X.scale_weight` (ComfyUI's "scaled fp8") or
`X.weight_scale` (newer files, and those of compressed-tensors); fp8 without one has the scale 1, int8 must have one.
`X.scale_input` and `X.input_scale` are for arithmetic on 8-bit activations with scales known beforehand, which is not
done here, and `X.comfy_quant` names the format in JSON.  `scaled_fp8` marks a file.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.packed import INT8, SCALED_ENCODINGS, PackedTensor
from bildwerk.weights.safetensors_header import shown
from bildwerk.weights.tensor_source import TensorSource

WEIGHT = ".weight"
SCALES = (".scale_weight", ".weight_scale")
MARKER = ".comfy_quant"
BESIDE_A_WEIGHT = (*SCALES, ".scale_input", ".input_scale", MARKER)
FILE_MARKER = "scaled_fp8"
FP8_FORMATS = frozenset({"float8_e4m3fn", "float8_e5m2"})
INT8_FORMAT = "int8_tensorwise"
"""ComfyUI's word, whether a tensor has one scale or one a row."""
HARMLESS = frozenset({"format", "per_row", "per_channel", "full_precision_matrix_mult"})
"""What a marker may say of int8 without meaning other values, as `convrot` does: weights that were rotated."""
MAX_MARKER_BYTES = 4096

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ScaledWeights:
    """A source in which each 8-bit tensor is packed with its scale, and what lies beside it is no tensor of its own."""

    source: TensorSource

    @property
    def path(self) -> Path:
        return self.source.path

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._without_companions(self.source.shapes())

    def dtypes(self) -> dict[str, str]:
        return self._without_companions(self.source.dtypes())

    def load(self, names: Collection[str]) -> dict[str, Tensor | PackedTensor]:
        dtypes = self.source.dtypes()
        companions = {companion for name in names for companion in self._companions(name, dtypes)}
        loaded = self.source.load({*names, *companions})
        return {name: self._packed(name, dtypes, loaded) for name in names}

    def _without_companions(self, everything: Mapping[str, T]) -> dict[str, T]:
        dtypes = self.source.dtypes()
        companions = {companion for name in dtypes for companion in self._companions(name, dtypes)}
        return {name: value for name, value in everything.items() if name not in companions | {FILE_MARKER}}

    @staticmethod
    def _companions(name: str, dtypes: Mapping[str, str]) -> list[str]:
        """Only an 8-bit weight has any, so that a scale beside a plain weight stays an unexpected tensor."""
        if not name.endswith(WEIGHT) or dtypes[name] not in SCALED_ENCODINGS:
            return []
        owner = name.removesuffix(WEIGHT)
        return [owner + suffix for suffix in BESIDE_A_WEIGHT if owner + suffix in dtypes]

    def _packed(
        self, name: str, dtypes: Mapping[str, str], loaded: Mapping[str, Tensor | PackedTensor]
    ) -> Tensor | PackedTensor:
        tensor = loaded[name]
        if isinstance(tensor, PackedTensor) or dtypes[name] not in SCALED_ENCODINGS:
            return tensor
        encoding = SCALED_ENCODINGS[dtypes[name]]
        beside = {companion: loaded[companion] for companion in self._companions(name, dtypes)}
        owner = name.removesuffix(WEIGHT)
        self._check_marker(beside.get(owner + MARKER), name, is_int8=encoding is INT8)
        scale = self._scale([beside[owner + suffix] for suffix in SCALES if owner + suffix in beside], tensor, name)
        if encoding is INT8:
            self._check_int8_scale(scale, name)
        return PackedTensor(encoding, tuple(tensor.shape), tensor.view(torch.uint8), scale)

    def _scale(self, scales: list[Tensor | PackedTensor], weight: Tensor, name: str) -> Tensor | None:
        """One for all, or one a row."""
        match scales:
            case []:
                return None
            case [Tensor() as scale] if scale.is_floating_point() and scale.numel() == 1:
                return scale.float().reshape(())
            case [Tensor() as scale] if (
                scale.is_floating_point()
                and weight.ndim == 2
                and tuple(scale.shape) in ((len(weight),), (len(weight), 1))
            ):
                return scale.float().reshape(-1, 1)
            case _:
                raise WeightsError(
                    f"{self.path}: the scale of {shown(name)} must be one floating point number, or one a row"
                )

    def _check_int8_scale(self, scale: Tensor | None, name: str) -> None:
        if scale is None:
            raise WeightsError(f"{self.path} holds {shown(name)} in I8 without a scale beside it ({', '.join(SCALES)})")
        if not bool((scale.isfinite() & (scale >= 0)).all()):
            raise WeightsError(f"{self.path}: a scale of {shown(name)} is negative, infinite or no number")

    def _check_marker(self, marker: Tensor | PackedTensor | None, name: str, *, is_int8: bool) -> None:
        if not isinstance(marker, Tensor):
            return
        said = _parsed(marker)
        formats = frozenset({INT8_FORMAT}) if is_int8 else FP8_FORMATS
        if str(said.get("format")) not in formats:
            raise WeightsError(
                f"{self.path}: {shown(name)} is marked as being in a format other than {' and '.join(sorted(formats))}"
            )
        strange = sorted(key for key, value in said.items() if is_int8 and value and key not in HARMLESS)
        if strange:
            raise WeightsError(f"{self.path}: {shown(name)} is marked with {shown(strange[0])}, which is not read")


def _parsed(marker: Tensor) -> dict[str, object]:
    """What a marker says in JSON; nothing where it is none."""
    if marker.dtype != torch.uint8 or marker.numel() > MAX_MARKER_BYTES:
        return {}
    try:
        said = json.loads(bytes(marker))
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
