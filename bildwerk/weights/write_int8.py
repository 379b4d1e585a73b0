"""A network in eight bits on disk: a safetensors file under the original's names.

Every matrix `X.weight` is I8, with `X.weight_scale` (F32, O 1) and ComfyUI's `X.comfy_quant`, which says
`int8_tensorwise`, beside it; all else is BF16. The header's metadata names the format too.

A file's parts come in the order of their alignment, and the matrices begin on a page: so they are used as they lie in
the mapped file.

O outputs, K inputs.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from bildwerk.weights.new_file import new_file
from bildwerk.weights.row_levels import RowLevels
from bildwerk.weights.safetensors_header import DTYPE_BYTES, LENGTH_BYTES
from bildwerk.weights.scaled_weights import INT8_FORMAT, MARKER, WEIGHT

PAGE = 4096
SCALE = ".weight_scale"
METADATA = {"format": "pt", "quantization": INT8_FORMAT, "weight_scale": "one a row"}
SAID = json.dumps({"format": INT8_FORMAT}).encode()

Shape = tuple[int, ...]


def is_matrix(name: str, shape: Shape) -> bool:
    """Whether a network's tensor of this name and shape becomes int8."""
    return len(shape) == 2 and name.endswith(WEIGHT)


@dataclass(frozen=True, slots=True)
class Int8Plan:
    """What a file holds, and from where on each tensor lies in it. `header` includes its own length."""

    header: bytes
    places: Mapping[str, int]
    size: int

    @classmethod
    def of(cls, shapes: Mapping[str, Shape]) -> "Int8Plan":
        """shapes: of the network's state, by its names."""
        tensors = dict(_tensors(shapes))
        entries: dict[str, object] = {"__metadata__": METADATA}
        offsets, end, first_matrix = {}, 0, None
        for name, (dtype, shape) in tensors.items():
            if dtype == "I8" and first_matrix is None:
                first_matrix = end
            offsets[name], end = end, end + math.prod(shape) * DTYPE_BYTES[dtype]
            entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offsets[name], end]}
        header = _header(entries, first_matrix or 0)
        return cls(header, {name: len(header) + offset for name, offset in offsets.items()}, len(header) + end)


def _tensors(shapes: Mapping[str, Shape]) -> Iterator[tuple[str, tuple[str, Shape]]]:
    """By falling alignment of what they are made of: no gap is allowed between them."""
    matrices = {name.removesuffix(WEIGHT): shape for name, shape in shapes.items() if is_matrix(name, shape)}
    yield from ((owner + SCALE, ("F32", (shape[0], 1))) for owner, shape in matrices.items())
    yield from ((name, ("BF16", shape)) for name, shape in shapes.items() if not is_matrix(name, shape))
    yield from ((owner + WEIGHT, ("I8", shape)) for owner, shape in matrices.items())
    yield from ((owner + MARKER, ("U8", (len(SAID),))) for owner in matrices)


def _header(entries: Mapping[str, object], first_matrix: int) -> bytes:
    """Filled up with spaces until the first matrix begins on a page."""
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(LENGTH_BYTES + len(text) + first_matrix) % PAGE)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def write_int8(
    path: Path, shapes: Mapping[str, Shape], tensors: Iterable[tuple[str, Tensor | RowLevels]]
) -> Iterator[int]:
    """Writes each of the network's tensors as it comes, in any order: levels for a matrix, numbers for all else.

    Yields how many were written. Raises `WeightsError` where the file cannot be written, or is there already; then, or
    when the iterator is closed before its end, nothing is left at `path`.
    """
    plan = Int8Plan.of(shapes)
    missing = set(shapes)
    with new_file(path, plan.size) as file:
        file.write(plan.header)
        for done, (name, tensor) in enumerate(tensors, start=1):
            missing.remove(name)
            for part, held in _parts(name, shapes[name], tensor):
                _write(file, plan.places[part], held)
            yield done
        if missing:
            raise ValueError(f"{len(missing)} tensors were not handed over, such as {min(missing)}")


def _parts(name: str, shape: Shape, tensor: Tensor | RowLevels) -> Iterator[tuple[str, Tensor]]:
    held = tensor.levels if isinstance(tensor, RowLevels) else tensor
    if tuple(held.shape) != shape or isinstance(tensor, RowLevels) != is_matrix(name, shape):
        raise ValueError(f"{name} cannot be written as {tuple(held.shape)}, {held.dtype}")
    if not isinstance(tensor, RowLevels):
        yield name, tensor.to(torch.bfloat16)
        return
    owner = name.removesuffix(WEIGHT)
    yield name, tensor.levels
    yield owner + SCALE, tensor.scales
    yield owner + MARKER, torch.tensor(list(SAID), dtype=torch.uint8)


def _write(file: BinaryIO, place: int, tensor: Tensor) -> None:
    file.seek(place)
    file.write(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
