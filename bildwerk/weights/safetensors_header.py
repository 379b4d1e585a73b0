"""The headers of a component's safetensors files, every claim of which is compared with the files before anything is
mapped. Needs no torch.

Format: 8 bytes of header length (little endian), that many bytes of JSON, then the tensors' data without a gap.
Source: huggingface/safetensors, README.
"""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.json_file import read_json
from bildwerk.weights.place import check_place

STEMS = ("diffusion_pytorch_model", "model")
MAX_INDEX_BYTES = 16 * 2**20
MAX_SHARDS = 1000

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8
MAX_COUNT = 2**63
"""Of a side or an offset. Python refuses to print integers of more than 4,300 digits, which a message would do."""
NAME_SHOWN = 80
DTYPE_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
FOREIGN_FORMATS = {
    b"PK\x03\x04": "a zip archive, as torch.save writes it; such a file can run code when it is loaded",
    b"\x80": "a Python pickle; such a file can run code when it is loaded",
    b"GGUF": "a GGUF file",
    b"version https": "the pointer that Git LFS leaves in place of a file",
    b"<": "a web page",
    b"{": "a JSON file",
}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """What a header says of one tensor: the format's name of its dtype, its shape, and where in the data it lies."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


Entries = Mapping[Path, Mapping[str, TensorEntry]]
"""By file, and in it by the tensor's name."""


def weight_file(folder: Path) -> Path:
    """The file or the index in a component's folder. Raises `WeightsError` where there is none or more than one."""
    names = [f"{stem}.safetensors{suffix}" for stem in STEMS for suffix in ("", ".index.json")]
    found = [folder / name for name in names if os.path.lexists(folder / name)]
    match found:
        case [path]:
            return path
        case []:
            raise WeightsError(f"{folder} holds no weights: none of {', '.join(names)} is there")
        case _:
            raise WeightsError(f"{folder} holds both {found[0].name} and {found[1].name}; remove one of them")


def read_entries(path: Path) -> Entries:
    """path: a file, or the index of several. Raises `WeightsError` for whatever is wrong with any of them."""
    return _read_shards(path) if path.suffix == ".json" else {path: _checked_entries(path)}


def _read_shards(path: Path) -> Entries:
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
    return entries


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


def read_header(file: BinaryIO, size: int) -> dict[str, TensorEntry]:
    """file: a safetensors file of `size` bytes, at its start -> its tensors by name.

    Raises `WeightsError`, with a clause that completes the sentence "<file> ...", for anything not exactly right.
    """
    length = _read_length(file, size)
    header = _parse(file.read(length))
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise WeightsError(f"names {len(header):,} tensors; at most {MAX_TENSORS:,} are read")
    entries = {name: _entry(name, claim) for name, claim in header.items()}
    _check_extent(entries, size - LENGTH_BYTES - length)
    return entries


def _read_length(file: BinaryIO, size: int) -> int:
    start = file.read(LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if len(start) < LENGTH_BYTES or not 0 < length <= min(MAX_HEADER_BYTES, size - LENGTH_BYTES):
        raise WeightsError(_not_safetensors(start + file.read(LENGTH_BYTES), size, length))
    return length


def _not_safetensors(start: bytes, size: int, length: int) -> str:
    for magic, what in FOREIGN_FORMATS.items():
        if start.startswith(magic):
            return f"is not a safetensors file but {what}"
    if len(start) < LENGTH_BYTES:
        return f"is not a safetensors file: it has only {size} bytes"
    if length > MAX_HEADER_BYTES:
        return f"claims a header of {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read"
    return f"claims a header of {length:,} bytes, but has {size:,} in all; it is cut off or not a safetensors file"


def _parse(text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise WeightsError("is not a safetensors file: its header does not begin with '{'")
    try:
        header: dict[str, Any] = json.loads(text, object_pairs_hook=_object_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"has a header that is not valid JSON: {error}") from error
    return header


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(repeated, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise WeightsError(f"names {shown(repeated)} more than once in its header")
    return found


def shown(name: str) -> str:
    """A name from a file, safe to print: quoted, escaped and of limited length."""
    return ascii(name if len(name) <= NAME_SHOWN else name[:NAME_SHOWN] + "...")


def _entry(name: str, claim: Any) -> TensorEntry:
    match claim:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)], **rest} if not rest:
            entry = TensorEntry(dtype, tuple(shape), begin, end)
        case _:
            raise WeightsError(f"describes tensor {shown(name)} by something other than dtype, shape and data_offsets")
    _check_size(name, entry)
    return entry


def _check_size(name: str, entry: TensorEntry) -> None:
    if entry.dtype not in DTYPE_BYTES:
        raise WeightsError(f"gives tensor {shown(name)} the unknown dtype {shown(entry.dtype)}")
    if len(entry.shape) > MAX_DIMENSIONS or not all(_is_count(side) for side in entry.shape):
        raise WeightsError(f"gives tensor {shown(name)} an impossible shape")
    if not (_is_count(entry.begin) and _is_count(entry.end)):
        raise WeightsError(f"gives tensor {shown(name)} an impossible place in the file")
    expected = math.prod(entry.shape) * DTYPE_BYTES[entry.dtype]
    if entry.end - entry.begin != expected:
        raise WeightsError(
            f"gives tensor {shown(name)} {entry.end - entry.begin:,} bytes, but {entry.dtype} {list(entry.shape)} "
            f"takes {expected:,}"
        )


def _is_count(number: object) -> bool:
    return type(number) is int and 0 <= number <= MAX_COUNT


def _check_extent(entries: dict[str, TensorEntry], data_bytes: int) -> None:
    """The tensors must fill the data from its first byte to its last, without overlap or hole."""
    spans = sorted((entry.begin, entry.end, name) for name, entry in entries.items())
    for (_, end, _), (begin, _, name) in pairwise([(0, 0, ""), *spans]):
        if begin != end:
            raise WeightsError(f"has {'an overlap' if begin < end else 'a hole'} before tensor {shown(name)}")
    end = spans[-1][1] if spans else 0
    if end != data_bytes:
        raise WeightsError(f"describes {end:,} bytes of tensors, but holds {data_bytes:,}; it is cut off or padded")
