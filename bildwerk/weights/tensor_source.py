"""Where the tensors of one component come from: named, with shapes and formats known before anything is loaded."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from torch import Tensor

from bildwerk.weights.packed import PackedTensor

T = TypeVar("T")


class TensorSource(Protocol):
    """A file or several. `path` is what messages name."""

    @property
    def path(self) -> Path: ...

    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...

    def dtypes(self) -> Mapping[str, str]:
        """The format's name of each tensor's dtype or encoding, such as BF16, F8_E4M3 or Q4_K."""
        ...

    def load(self, names: Collection[str]) -> Mapping[str, Tensor | PackedTensor]:
        """These tensors, on the CPU. Raises `WeightsError`."""
        ...


@dataclass(frozen=True, slots=True)
class Section:
    """The tensors of a source whose names begin with `prefix`, under the rest of their names."""

    source: TensorSource
    prefix: str

    @property
    def path(self) -> Path:
        return self.source.path

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._mine(self.source.shapes())

    def dtypes(self) -> dict[str, str]:
        return self._mine(self.source.dtypes())

    def load(self, names: Collection[str]) -> dict[str, Tensor | PackedTensor]:
        return self._mine(self.source.load([self.prefix + name for name in names]))

    def _mine(self, everything: Mapping[str, T]) -> dict[str, T]:
        length = len(self.prefix)
        return {name[length:]: value for name, value in everything.items() if name.startswith(self.prefix)}
