"""A file's tensors become a module's, strictly: each of them, of the right shape, and no other.

The module is built on `meta`, without memory, and the tensors are assigned to it, not copied: nothing is initialised,
and where dtype and device are the file's own the weights stay mapped to it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.mapping import Layout
from bildwerk.weights.read_safetensors import TensorFiles
from bildwerk.weights.safetensors_header import shown
from bildwerk.weights.uninitialized import Uninitialized

M = TypeVar("M", bound=nn.Module)
FLOATS = frozenset({"F16", "BF16", "F32", "F64"})


def build(
    make: Callable[[], M],
    files: TensorFiles,
    layouts: Sequence[Layout],
    dtype: torch.dtype,
    device: torch.device | str,
) -> M:
    """The module that `make` makes, with the weights of `files`, which are in one of the `layouts`.

    Raises `MismatchedKeysError` (a `WeightsError`) that lists which tensors are missing, unexpected or misshapen.
    """
    with torch.device("meta"), Uninitialized():
        module = make()
    wanted = module.state_dict()
    layout = choose_layout(layouts, wanted, files)
    check_tensors(layout, wanted, files)
    tensors = files.load()
    state = {
        row.target: row.to_target([tensors[source] for source in row.sources]).to(device, dtype) for row in layout.rows
    }
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def choose_layout(layouts: Sequence[Layout], wanted: Mapping[str, Tensor], files: TensorFiles) -> Layout:
    """The layout that shares most names with the files, expanded to the module's keys."""
    held = files.shapes().keys()
    return max((layout.expand(wanted) for layout in layouts), key=lambda layout: len(layout.sources & held))


def check_tensors(layout: Layout, wanted: Mapping[str, Tensor], files: TensorFiles) -> None:
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


def _check_dtypes(files: TensorFiles, needed: Mapping[str, object]) -> None:
    odd = {name: dtype for name, dtype in files.dtypes().items() if name in needed and dtype not in FLOATS}
    if odd:
        name, dtype = next(iter(odd.items()))
        raise WeightsError(
            f"{files.path} holds {len(odd)} weights that are no 16-, 32- or 64-bit floating point numbers, "
            f"such as {name} in {dtype}"
        )
