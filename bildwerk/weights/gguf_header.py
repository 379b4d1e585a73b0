"""The header of a GGUF file, every claim of which is compared with the file before anything is mapped.

Format: magic, version, number of tensors, number of settings, the settings, the tensors' descriptions, padding to the
alignment, then the tensors' data, each aligned. All numbers are little endian.
Source: ggml-org/ggml, `docs/gguf.md`. Needs no torch.
"""

import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.safetensors_header import MAX_TENSORS, TensorEntry, shown

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 2**16
MAX_SETTINGS = 10_000
MAX_HEADER_BYTES = 64 * 2**20
MAX_KEY_BYTES = 2**16
MAX_DIMENSIONS = 4
MAX_SIDE = 2**40
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""By the number of a setting's type: integers of 8, 16 and 32 bits, float, boolean, integers of 64 bits, double."""
UINT32, STRING, ARRAY = 4, 8, 9
ALIGNMENT_KEY = "general.alignment"
TENSOR_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 8: "Q8_0", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 30: "BF16"}
FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
BLOCKS = {"Q8_0": (32, 34), "Q4_0": (32, 18), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210)}
"""How many values a block has, and how many bytes."""


@dataclass(slots=True)
class Cursor:
    """Reads a header forwards. Nothing is read beyond `end`, the size of the file or the largest header allowed."""

    file: BinaryIO
    end: int
    position: int = 0

    def take(self, count: int) -> bytes:
        if count > self.end - self.position:
            raise WeightsError(
                f"needs {count:,} more bytes of header at byte {self.position:,} than it has or may have"
            )
        self.position += count
        return self.file.read(count)

    def uint32(self) -> int:
        (number,) = struct.unpack("<I", self.take(4))
        return int(number)

    def uint64(self) -> int:
        (number,) = struct.unpack("<Q", self.take(8))
        return int(number)

    def text(self, max_bytes: int = MAX_HEADER_BYTES) -> str:
        length = self.uint64()
        if length > max_bytes:
            raise WeightsError(
                f"has a text of {length:,} bytes at byte {self.position:,}; at most {max_bytes:,} are read"
            )
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise WeightsError(f"has a text that is not UTF-8 before byte {self.position:,}") from error

    def count(self, what: str, maximum: int) -> int:
        number = self.uint64()
        if number > maximum:
            raise WeightsError(f"claims {number:,} {what}; at most {maximum:,} are read")
        return number


def read_gguf_header(file: BinaryIO, size: int) -> dict[str, TensorEntry]:
    """file: a GGUF file of `size` bytes, at its start -> its tensors by name, with their place from the file's start.

    Shapes are in torch's order, rows first; dtypes are the names in `TENSOR_TYPES`.
    Raises `WeightsError`, with a clause that completes the sentence "<file> ...", for anything not exactly right.
    """
    cursor = Cursor(file, min(size, MAX_HEADER_BYTES))
    if size < 24 or cursor.take(4) != MAGIC:
        raise WeightsError("is not a GGUF file")
    version = cursor.uint32()
    if version not in VERSIONS:
        raise WeightsError(f"is a GGUF file of version {version}; versions {VERSIONS[0]} and {VERSIONS[1]} are read")
    num_tensors = cursor.count("tensors", MAX_TENSORS)
    alignment = _read_alignment(cursor, cursor.count("settings", MAX_SETTINGS))
    relative: dict[str, TensorEntry] = {}
    for _ in range(num_tensors):
        name, entry = _read_tensor(cursor, alignment)
        if name in relative:
            raise WeightsError(f"names the tensor {shown(name)} more than once")
        relative[name] = entry
    return _placed(relative, _aligned(cursor.position, alignment), size, alignment)


def _read_alignment(cursor: Cursor, num_settings: int) -> int:
    """Pass over the settings, of which only the alignment is of any account."""
    seen: set[str] = set()
    alignment = DEFAULT_ALIGNMENT
    for _ in range(num_settings):
        key, kind = cursor.text(MAX_KEY_BYTES), cursor.uint32()
        if key in seen:
            raise WeightsError(f"has the setting {shown(key)} more than once")
        seen.add(key)
        if key == ALIGNMENT_KEY and kind == UINT32:
            alignment = _checked_alignment(cursor.uint32())
        elif key == ALIGNMENT_KEY:
            raise WeightsError(f"gives {ALIGNMENT_KEY} the type {kind} instead of {UINT32}")
        else:
            _skip_value(cursor, key, kind)
    return alignment


def _checked_alignment(alignment: int) -> int:
    """A multiple of 8 by the format's rule; a power of two besides, as all known files have."""
    if not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise WeightsError(f"has an alignment of {alignment}, but must have a power of two from 8 to {MAX_ALIGNMENT:,}")
    return alignment


def _skip_value(cursor: Cursor, key: str, kind: int) -> None:
    if kind == STRING:
        cursor.text()
    elif kind == ARRAY:
        _skip_array(cursor, key)
    elif kind in SCALAR_BYTES:
        cursor.take(SCALAR_BYTES[kind])
    else:
        raise WeightsError(f"gives the setting {shown(key)} the unknown type {kind}")


def _skip_array(cursor: Cursor, key: str) -> None:
    kind, length = cursor.uint32(), cursor.count("entries of a list", MAX_HEADER_BYTES)
    if kind == STRING:
        for _ in range(length):
            cursor.text()
    elif kind in SCALAR_BYTES:
        cursor.take(length * SCALAR_BYTES[kind])
    else:
        what = "lists of lists are not read" if kind == ARRAY else f"the type {kind} is unknown"
        raise WeightsError(f"gives the setting {shown(key)} a list of what is not read: {what}")


def _read_tensor(cursor: Cursor, alignment: int) -> tuple[str, TensorEntry]:
    name, num_dimensions = cursor.text(MAX_KEY_BYTES), cursor.uint32()
    if num_dimensions > MAX_DIMENSIONS:
        raise WeightsError(
            f"gives tensor {shown(name)} {num_dimensions:,} dimensions; at most {MAX_DIMENSIONS} are read"
        )
    shape = tuple(cursor.uint64() for _ in range(num_dimensions))[::-1]
    kind, begin = cursor.uint32(), cursor.uint64()
    if kind not in TENSOR_TYPES:
        raise WeightsError(
            f"gives tensor {shown(name)} the type {kind}; only {', '.join(TENSOR_TYPES.values())} are read"
        )
    if begin % alignment:
        raise WeightsError(f"places tensor {shown(name)} at {begin:,}, which is no multiple of {alignment}")
    dtype = TENSOR_TYPES[kind]
    return name, TensorEntry(dtype, shape, begin, begin + _bytes(name, dtype, shape))


def _bytes(name: str, dtype: str, shape: tuple[int, ...]) -> int:
    """How many a tensor takes. Whole numbers have no limit here, so that nothing overflows."""
    if any(not 0 < side <= MAX_SIDE for side in shape):
        raise WeightsError(f"gives tensor {shown(name)} an impossible shape")
    if dtype in FLOAT_BYTES:
        return math.prod(shape) * FLOAT_BYTES[dtype]
    block_values, block_bytes = BLOCKS[dtype]
    if not shape or shape[-1] % block_values:
        raise WeightsError(
            f"gives tensor {shown(name)} rows that are no multiple of the {block_values} values of {dtype}"
        )
    return math.prod(shape) // block_values * block_bytes


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _placed(relative: dict[str, TensorEntry], start: int, size: int, alignment: int) -> dict[str, TensorEntry]:
    """The tensors must lie one after the other, with no more than the padding, to the end of the file."""
    spans = sorted((entry.begin, entry.end, name) for name, entry in relative.items())
    for (_, end, _), (begin, _, name) in pairwise([(0, 0, ""), *spans]):
        if begin != _aligned(end, alignment):
            raise WeightsError(f"has {'an overlap' if begin < end else 'a hole'} before tensor {shown(name)}")
    end = start + (spans[-1][1] if spans else 0)
    if not end <= size <= _aligned(end, alignment):
        raise WeightsError(f"describes {end:,} bytes, but has {size:,}; it is cut off or padded")
    return {
        name: TensorEntry(entry.dtype, entry.shape, start + entry.begin, start + entry.end)
        for name, entry in relative.items()
    }
