"""Weight files in the safetensors format: one file, or the several that an index names.

The files may come from anywhere. Only regular files inside the folder are opened, their headers are checked first
(`safetensors_header`), and the tensors are then mapped into memory, not read.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.safetensors_header import Entries, read_entries, weight_file


@dataclass(frozen=True, slots=True)
class TensorFiles:
    """The checked files of one component, and the entry of each tensor in them. `path` is the file or the index."""

    path: Path
    entries: Entries

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: entry.shape for held in self.entries.values() for name, entry in held.items()}

    def dtypes(self) -> dict[str, str]:
        return {name: entry.dtype for held in self.entries.values() for name, entry in held.items()}

    def load(self, names: Collection[str]) -> dict[str, Tensor]:
        """These tensors, on the CPU, in the files' own dtypes. They lie in the mapped files until written to."""
        wanted = set(names)
        return {
            name: tensor
            for path, held in self.entries.items()
            for name, tensor in _map(path, held.keys() & wanted).items()
        }


def _map(path: Path, names: Collection[str]) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be mapped: {error}") from error


def find_safetensors(folder: Path) -> TensorFiles:
    """The weight file of a component's folder, whole or in shards.

    Raises `WeightsError` where there is none or more than one, and for whatever is wrong with it.
    """
    return open_safetensors(weight_file(folder))


def open_safetensors(path: Path) -> TensorFiles:
    """Check one file, or an index (`*.safetensors.index.json`) and each shard that it names. Raises `WeightsError`."""
    return TensorFiles(path, read_entries(path))
