"""Weight files in the safetensors format: one file, or the several that an index names.

The files may come from anywhere. Only regular files inside the folder are opened, their headers are checked first
(`safetensors_header`), and the tensors are then mapped into memory, not read.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.json_file import read_json
from bildwerk.weights.place import check_place
from bildwerk.weights.safetensors_header import TensorEntry, read_header, shown

STEMS = ("diffusion_pytorch_model", "model")
MAX_INDEX_BYTES = 16 * 2**20
MAX_SHARDS = 1000


@dataclass(frozen=True, slots=True)
class TensorFiles:
    """The checked files of one component, and the entry of each tensor in them. `path` is the file or the index."""

    path: Path
    entries: Mapping[Path, Mapping[str, TensorEntry]]

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
    names = [f"{stem}.safetensors{suffix}" for stem in STEMS for suffix in ("", ".index.json")]
    found = [folder / name for name in names if os.path.lexists(folder / name)]
    match found:
        case [path]:
            return open_index(path) if path.suffix == ".json" else open_safetensors(path)
        case []:
            raise WeightsError(f"{folder} holds no weights: none of {', '.join(names)} is there")
        case _:
            raise WeightsError(f"{folder} holds both {found[0].name} and {found[1].name}; remove one of them")


def open_safetensors(path: Path) -> TensorFiles:
    """Check one file. Raises `WeightsError`."""
    return TensorFiles(path, {path: _checked_entries(path)})


def open_index(path: Path) -> TensorFiles:
    """Check an index (`*.safetensors.index.json`) and each shard that it names. Raises `WeightsError`."""
    homes = _parse_index(path)
    shards = sorted(set(homes.values()))
    if len(shards) > MAX_SHARDS:
        raise WeightsError(f"{path} names {len(shards):,} shards; at most {MAX_SHARDS:,} are read")
    entries = {path.parent / shard: _checked_entries(path.parent / shard) for shard in shards}
    held = [(name, shard.name) for shard, names in entries.items() for name in names]
    missing, unexpected = set(homes.items()) - set(held), set(held) - set(homes.items())
    if missing or unexpected:
        raise MismatchedKeysError(
            f"The set of shards of {path}",
            missing=sorted(shown(name) for name, _ in missing),
            unexpected=sorted(shown(name) for name, _ in unexpected),
            misshapen=(),
        )
    return TensorFiles(path, entries)


def _parse_index(path: Path) -> dict[str, str]:
    match read_json(path, MAX_INDEX_BYTES):
        case {"weight_map": dict(homes)} if homes:
            return {name: _plain_file_name(path, shard) for name, shard in homes.items()}
        case _:
            raise WeightsError(f"{path} has no weight_map, so it is not the index of a sharded file")


def _plain_file_name(index: Path, shard: Any) -> str:
    if (
        isinstance(shard, str)
        and shard.endswith(".safetensors")
        and PurePosixPath(shard).name == PureWindowsPath(shard).name == shard
        and "\0" not in shard
    ):
        return shard
    raise WeightsError(f"{index} names the shard {shown(str(shard))}, which is not a plain .safetensors file name")


def _checked_entries(path: Path) -> dict[str, TensorEntry]:
    check_place(path)
    try:
        with path.open("rb") as file:
            return read_header(file, path.stat().st_size)
    except WeightsError as error:
        raise WeightsError(f"{path} {error}") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
