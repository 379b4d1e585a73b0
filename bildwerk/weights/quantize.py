"""A transformer in any layout that loads becomes a file in eight bits, one tensor at a time."""

from collections.abc import Generator
from pathlib import Path

import torch
from torch import Tensor

from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import check_tensors, choose_layout
from bildwerk.weights.configs import read_transformer
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.layouts import transformer_layouts
from bildwerk.weights.mapping import Row
from bildwerk.weights.measured_params import measure_transformer
from bildwerk.weights.packed import PackedTensor
from bildwerk.weights.places import READERS, Place, in_folder
from bildwerk.weights.row_levels import RowLevels, row_levels
from bildwerk.weights.safetensors_header import shown
from bildwerk.weights.sections import sections
from bildwerk.weights.signatures import Component
from bildwerk.weights.tensor_source import TensorSource
from bildwerk.weights.uninitialized import Uninitialized
from bildwerk.weights.write_int8 import is_matrix, write_int8

SUFFIXES = (".safetensors", ".sft")


def quantize(source: Path, destination: Path) -> Generator[tuple[int, int], None, None]:
    """source: a model's folder, its folder `transformer`, or a file; destination: a file that is not there yet.

    Yields how many tensors are written, of how many. Bounded memory: one matrix as int8, and a part of it in float32.
    Raises `WeightsError`; then nothing was written.
    """
    if destination.suffix.lower() not in SUFFIXES:
        raise WeightsError(f"{destination} is no name for such a file: it must end with {' or '.join(SUFFIXES)}")
    place = find_transformer(source)
    params = measure_transformer(place.files)
    if place.config and read_transformer(place.config) != params:
        raise WeightsError(
            f"{source} has settings in its config.json that no single file could tell, so it cannot become one"
        )
    with torch.device("meta"), Uninitialized():
        wanted = Flux(params).state_dict()
    layout = choose_layout(transformer_layouts(params), wanted, place.files)
    check_tensors(layout, wanted, place.files)
    shapes = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    tensors = ((row.target, _made(row, shapes[row.target], place.files)) for row in layout.rows)
    for done in write_int8(destination, shapes, tensors):
        yield done, len(shapes)


def find_transformer(source: Path) -> Place:
    """Raises `WeightsError` where there is none, or more than one."""
    if not source.is_dir():
        return Place(_in_file(source))
    if (source / Component.TRANSFORMER).is_dir():
        return in_folder(source / Component.TRANSFORMER)
    if (source / "config.json").exists():
        return in_folder(source)
    found = [path for path in sorted(source.iterdir()) if path.suffix.lower() in READERS and _holds_one(path)]
    if len(found) != 1:
        raise WeightsError(f"{source} holds {len(found) or 'no'} transformers: name the file")
    return Place(_in_file(found[0]))


def _holds_one(path: Path) -> bool:
    return Component.TRANSFORMER in sections(READERS[path.suffix.lower()](path))


def _in_file(path: Path) -> TensorSource:
    if (reader := READERS.get(path.suffix.lower())) is None:
        raise WeightsError(f"{path} is neither a folder nor one of {', '.join(READERS)}")
    found = sections(reader(path))
    if Component.TRANSFORMER not in found:
        raise WeightsError(f"{path} holds no transformer")
    return found[Component.TRANSFORMER]


def _made(row: Row, shape: tuple[int, ...], files: TensorSource) -> Tensor | RowLevels:
    """What the row makes of the file's tensors. Whole rows are rearranged, so each source is quantized alone."""
    loaded = files.load(row.sources)
    sources = [loaded[name] for name in row.sources]
    if not is_matrix(row.target, shape):
        made = row.to_target([_unpacked(each).to(torch.bfloat16) for each in sources])
        _check_finite(made, row, files)
        return made
    parts = [row_levels(each) for each in sources]
    scales = row.to_target([part.scales for part in parts])
    _check_finite(scales, row, files)
    return RowLevels(row.to_target([part.levels for part in parts]), scales)


def _unpacked(tensor: Tensor | PackedTensor) -> Tensor:
    return tensor.unpack(torch.float32) if isinstance(tensor, PackedTensor) else tensor


def _check_finite(tensor: Tensor, row: Row, files: TensorSource) -> None:
    if not bool(tensor.isfinite().all()):
        raise WeightsError(f"{files.path} holds NaN or infinity in {', '.join(map(shown, row.sources))}")
