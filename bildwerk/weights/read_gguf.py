"""Weight files in the GGUF format, whose quantized tensors stay as packed as they are in the file.

The header is checked first (`gguf_header`), and the tensors are then mapped into memory, not read.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.gguf_blocks import GGUF_ENCODINGS
from bildwerk.weights.packed import PackedTensor
from bildwerk.weights.safetensors_header import TensorEntry
from bildwerk.weights.single_file_header import read_gguf_entries

FLOAT_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A checked file, and the entry of each tensor in it."""

    path: Path
    entries: Mapping[str, TensorEntry]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: entry.shape for name, entry in self.entries.items()}

    def dtypes(self) -> dict[str, str]:
        return {name: entry.dtype for name, entry in self.entries.items()}

    def load(self, names: Collection[str]) -> dict[str, Tensor | PackedTensor]:
        """These tensors, on the CPU: floating point numbers as they are, all else packed."""
        content = self._map()
        return {name: _tensor(content, self.entries[name]) for name in names}

    def _map(self) -> Tensor:
        """The whole file as bytes, which lie in it until written to."""
        try:
            size = self.path.stat().st_size
            return torch.from_file(str(self.path), shared=False, size=size, dtype=torch.uint8)
        except (OSError, RuntimeError) as error:
            raise WeightsError(f"{self.path} cannot be mapped: {error}") from error


def _tensor(content: Tensor, entry: TensorEntry) -> Tensor | PackedTensor:
    data = content[entry.begin : entry.end]
    if entry.dtype in FLOAT_DTYPES:
        return data.view(FLOAT_DTYPES[entry.dtype]).reshape(entry.shape)
    return PackedTensor(GGUF_ENCODINGS[entry.dtype], entry.shape, data)


def open_gguf(path: Path) -> GgufFile:
    """Check one file. Raises `WeightsError`."""
    return GgufFile(path, read_gguf_entries(path))
