"""The header of a safetensors file, every claim of which is compared with the file before anything is mapped.

Format: 8 bytes of header length (little endian), that many bytes of JSON, then the tensors' data without a gap.
Source: huggingface/safetensors, README.
"""

import json
import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO

from bildwerk.weights.errors import WeightsError

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8
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
    if len(entry.shape) > MAX_DIMENSIONS or not all(type(side) is int and side >= 0 for side in entry.shape):
        raise WeightsError(f"gives tensor {shown(name)} an impossible shape")
    expected = math.prod(entry.shape) * DTYPE_BYTES[entry.dtype]
    if entry.end - entry.begin != expected:
        raise WeightsError(
            f"gives tensor {shown(name)} {entry.end - entry.begin:,} bytes, but {entry.dtype} {list(entry.shape)} "
            f"takes {expected:,}"
        )


def _check_extent(entries: dict[str, TensorEntry], data_bytes: int) -> None:
    """The tensors must fill the data from its first byte to its last, without overlap or hole."""
    spans = sorted((entry.begin, entry.end, name) for name, entry in entries.items())
    for (_, end, _), (begin, _, name) in pairwise([(0, 0, ""), *spans]):
        if begin != end:
            raise WeightsError(f"has {'an overlap' if begin < end else 'a hole'} before tensor {shown(name)}")
    end = spans[-1][1] if spans else 0
    if end != data_bytes:
        raise WeightsError(f"describes {end:,} bytes of tensors, but holds {data_bytes:,}; it is cut off or padded")
