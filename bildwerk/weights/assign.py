"""A file's tensors become a module's, strictly: each of them, of the right shape, and no other.

The module is built on `meta`, without memory, and the tensors are assigned to it, not copied: nothing is initialised,
and where dtype and device are the file's own the weights stay mapped to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.gguf_blocks import GGUF_ENCODINGS
from bildwerk.weights.mapping import Layout, Operation, Row
from bildwerk.weights.packed import SCALED_ENCODINGS, PackedTensor
from bildwerk.weights.quantized_linear import QuantizedLinear
from bildwerk.weights.safetensors_header import shown
from bildwerk.weights.tensor_source import TensorSource
from bildwerk.weights.uninitialized import Uninitialized

M = TypeVar("M", bound=nn.Module)
WEIGHT = ".weight"
READABLE = frozenset({"F16", "BF16", "F32", "F64", *SCALED_ENCODINGS, *GGUF_ENCODINGS})


@dataclass(frozen=True, slots=True)
class Target:
    """What weights are to become. Packed ones stay as they are in linear layers, unless `keeps_packed` is False."""

    dtype: torch.dtype
    device: torch.device | str = "cpu"
    keeps_packed: bool = True


def build(make: Callable[[], M], files: TensorSource, layouts: Sequence[Layout], target: Target) -> M:
    """The module that `make` makes, with the weights of `files`, which are in one of the `layouts`.

    Raises `MismatchedKeysError` (a `WeightsError`) that lists which tensors are missing, unexpected or misshapen.
    """
    with torch.device("meta"), Uninitialized():
        module = make()
    wanted = module.state_dict()
    layout = choose_layout(layouts, wanted, files)
    check_tensors(layout, wanted, files)
    assign(module, layout, files.load(layout.sources), target)
    return module.eval().requires_grad_(False)


def assign(module: nn.Module, layout: Layout, tensors: Mapping[str, Tensor | PackedTensor], target: Target) -> None:
    """Hand a file's tensors to a module on `meta`, by the rows of an expanded layout."""
    state = {}
    for row in layout.rows:
        sources = [tensors[source] for source in row.sources]
        if packed := _stays_packed(row, sources, module, target):
            _replace_linear(module, row.target.removesuffix(WEIGHT), packed.to(target.device))
        else:
            plain = [_unpacked(source, target.dtype) for source in sources]
            state[row.target] = row.to_target(plain).to(target.device, target.dtype)
    module.load_state_dict(state, strict=True, assign=True)


def _stays_packed(
    row: Row, sources: Sequence[Tensor | PackedTensor], module: nn.Module, target: Target
) -> PackedTensor | None:
    """Weights of linear layers that need no rearrangement do."""
    owner, _, kind = row.target.rpartition(".")
    match sources:
        case [PackedTensor() as packed] if target.keeps_packed and row.operation is Operation.RENAME:
            is_linear = kind == "weight" and isinstance(module.get_submodule(owner), nn.Linear)
            return packed if is_linear else None
        case _:
            return None


def _replace_linear(module: nn.Module, name: str, weight: PackedTensor) -> None:
    has_bias = module.get_submodule(name).bias is not None
    module.set_submodule(name, QuantizedLinear(weight, has_bias=has_bias))


def _unpacked(tensor: Tensor | PackedTensor, dtype: torch.dtype) -> Tensor:
    return tensor.unpack(dtype) if isinstance(tensor, PackedTensor) else tensor


def choose_layout(layouts: Sequence[Layout], wanted: Mapping[str, Tensor], files: TensorSource) -> Layout:
    """The layout that shares most names with the files, expanded to the module's keys."""
    held = files.shapes().keys()
    return max((layout.expand(wanted) for layout in layouts), key=lambda layout: len(layout.sources & held))


def check_tensors(layout: Layout, wanted: Mapping[str, Tensor], files: TensorSource) -> None:
    """Compare the files with what an expanded layout needs for the module's `wanted` state.

    Raises `MismatchedKeysError`, or `WeightsError` for weights that are no floating point numbers.
    """
    needed = source_shapes(layout, wanted)
    held = files.shapes()
    missing = sorted(needed.keys() - held.keys())
    unexpected = sorted(held.keys() - needed.keys() - layout.ignored)
    misshapen = [
        f"{name} {list(held[name])} instead of {list(shape)}"
        for name, shape in needed.items()
        if held.get(name, shape) != shape
    ]
    if missing or unexpected or misshapen:
        raise MismatchedKeysError(
            str(files.path), missing=missing, unexpected=[shown(name) for name in unexpected], misshapen=misshapen
        )
    _check_dtypes(files, needed)


def source_shapes(layout: Layout, wanted: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """What a file of an expanded layout must hold for a module of this state: the shape of each of its tensors.

    Read off one byte that poses as a whole tensor: the same operations on `meta` would load torch's compiler.
    """
    stand_ins = {name: torch.tensor(False).expand(tensor.shape) for name, tensor in wanted.items()}
    return {name: tuple(tensor.shape) for name, tensor in layout.export(stand_ins).items()}


def _check_dtypes(files: TensorSource, needed: Mapping[str, object]) -> None:
    odd = {name: dtype for name, dtype in files.dtypes().items() if name in needed and dtype not in READABLE}
    if odd:
        name, dtype = next(iter(odd.items()))
        raise WeightsError(
            f"{files.path} holds {len(odd)} weights in formats that are not read, such as {name} in {dtype}"
        )
