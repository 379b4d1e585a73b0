"""8-bit floating point weights and the small tensors that files keep beside them.

`X.weight` in fp8 is the true weight divided by a scale, which is `X.scale_weight` (ComfyUI's "scaled fp8") or
`X.weight_scale` (newer files); without one the scale is 1.  `X.scale_input` and `X.input_scale` are for arithmetic on
8-bit activations, which is not done here, and `X.comfy_quant` names the format in JSON.  `scaled_fp8` marks a file.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.packed import FP8_ENCODINGS, PackedTensor
from bildwerk.weights.safetensors_header import shown
from bildwerk.weights.tensor_source import TensorSource

WEIGHT = ".weight"
SCALES = (".scale_weight", ".weight_scale")
MARKER = ".comfy_quant"
BESIDE_A_WEIGHT = (*SCALES, ".scale_input", ".input_scale", MARKER)
FILE_MARKER = "scaled_fp8"
FORMATS = frozenset({"float8_e4m3fn", "float8_e5m2"})
MAX_MARKER_BYTES = 4096

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ScaledFp8:
    """A source in which each fp8 tensor is packed with its scale, and what lies beside it is no tensor of its own."""

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
        """Only an fp8 weight has any, so that a scale beside a plain weight stays an unexpected tensor."""
        if not name.endswith(WEIGHT) or dtypes[name] not in FP8_ENCODINGS:
            return []
        owner = name.removesuffix(WEIGHT)
        return [owner + suffix for suffix in BESIDE_A_WEIGHT if owner + suffix in dtypes]

    def _packed(
        self, name: str, dtypes: Mapping[str, str], loaded: Mapping[str, Tensor | PackedTensor]
    ) -> Tensor | PackedTensor:
        tensor = loaded[name]
        if isinstance(tensor, PackedTensor) or dtypes[name] not in FP8_ENCODINGS:
            return tensor
        beside = {companion: loaded[companion] for companion in self._companions(name, dtypes)}
        owner = name.removesuffix(WEIGHT)
        self._check_marker(beside.get(owner + MARKER), name)
        scales = [beside[owner + suffix] for suffix in SCALES if owner + suffix in beside]
        return PackedTensor(
            FP8_ENCODINGS[dtypes[name]],
            tuple(tensor.shape),
            tensor.view(torch.uint8),
            self._scale(scales, tensor, name),
        )

    def _scale(self, scales: list[Tensor | PackedTensor], weight: Tensor, name: str) -> Tensor | None:
        """One for all, or one a row."""
        match scales:
            case []:
                return None
            case [Tensor() as scale] if scale.is_floating_point() and scale.numel() == 1:
                return scale.float().reshape(())
            case [Tensor() as scale] if scale.is_floating_point() and scale.shape in ((len(weight),), (len(weight), 1)):
                return scale.float().reshape(-1, 1)
            case _:
                raise WeightsError(
                    f"{self.path}: the scale of {shown(name)} must be one floating point number, or one a row"
                )

    def _check_marker(self, marker: Tensor | PackedTensor | None, name: str) -> None:
        if not isinstance(marker, Tensor):
            return
        if marker.dtype != torch.uint8 or marker.numel() > MAX_MARKER_BYTES or _format(bytes(marker)) not in FORMATS:
            raise WeightsError(
                f"{self.path}: {shown(name)} is marked as being in a format other than {' and '.join(sorted(FORMATS))}"
            )


def _format(text: bytes) -> object:
    try:
        marker = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return str(marker.get("format")) if isinstance(marker, dict) else None
