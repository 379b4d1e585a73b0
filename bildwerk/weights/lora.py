"""Low-rank adaptations: small files that change what a transformer paints, added to it for as long as they are wanted.

The shared weights are never touched: while `applied` is entered, each adapted linear layer adds
`weight * scale * x A^T B^T` to its result, so that requests with different adaptations take turns on one model.

R rank, I values in, O values out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.flux.transformer import Flux
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.lora_file import LoraFile
from bildwerk.weights.lora_kind import kind_of
from bildwerk.weights.lora_metadata import read_alpha
from bildwerk.weights.lora_names import LoraKey, Slot, parse_key, slots
from bildwerk.weights.lora_place import LoraPlace
from bildwerk.weights.safetensors_header import shown

FLOATS = frozenset({"F16", "BF16", "F32"})


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What is added to rows `begin` and on of one linear layer's result. down: R I, up: O R, the scale included."""

    begin: int
    down: Tensor
    up: Tensor

    def add_to(self, result: Tensor, x: Tensor, weight: float) -> None:
        """x: ... I, result: ... all rows of the layer, changed in place."""
        added = F.linear(F.linear(x, self.down), self.up)
        result.narrow(-1, self.begin, len(self.up)).add_(added, alpha=weight)


@dataclass(frozen=True, slots=True, eq=False)
class Lora:
    """A file's adaptation of one architecture, by the names of the linear layers it patches."""

    title: str
    patches: Mapping[str, tuple[Patch, ...]]

    @property
    def byte_count(self) -> int:
        """How much memory its matrices take."""
        held = [matrix for patches in self.patches.values() for patch in patches for matrix in (patch.down, patch.up)]
        return sum(matrix.numel() * matrix.element_size() for matrix in held)


def load_lora(path: Path, model: Flux, dtype: torch.dtype, device: torch.device | str = "cpu") -> Lora:
    """A safetensors file with the names of diffusers, kohya or the original. Raises `WeightsError`, as `as_lora`."""
    return as_lora(LoraFile.read(LoraPlace.of_file(path)), model, dtype, device)


def as_lora(file: LoraFile, model: Flux, dtype: torch.dtype, device: torch.device | str = "cpu") -> Lora:
    """What a file changes of `model`, which may lie on the meta device.

    Raises `WeightsError` where it is damaged or was made for another architecture than that of `model`.
    """
    parts = _parts(file)
    known = slots(model.params, [name for name, child in model.named_modules() if _is_linear(child)])
    unknown = next((owner for owner in parts if owner not in known), None)
    if unknown is not None:
        raise _unfit(file, model, f"it changes {shown(unknown)}, which this model does not have")
    loaded, usual_alpha = file.load(file.shapes()), read_alpha(file)
    patches: dict[str, list[Patch]] = defaultdict(list)
    for owner, keys in parts.items():
        slot = known[owner]
        patch = _patch(file.title, owner, slot, {part: loaded[name] for part, name in keys.items()}, usual_alpha)
        if misfit := _misfit(owner, patch, model.get_submodule(slot.module), slot):
            raise _unfit(file, model, misfit)
        patches[slot.module].append(replace(patch, down=patch.down.to(device, dtype), up=patch.up.to(device, dtype)))
    return Lora(file.title, {module: tuple(held) for module, held in patches.items()})


def _unfit(file: LoraFile, model: Flux, reason: str) -> WeightsError:
    """With what the file is for, and what would fit."""
    params, kind = model.params, kind_of(file.shapes())
    origin = "" if kind is None else f" It looks like a LoRA for {kind}."
    return WeightsError(
        f"{file.title} is not for this model: {reason}.{origin} What fits is a LoRA for a FLUX transformer of width "
        f"{params.hidden_size:,} with {params.depth} double and {params.depth_single_blocks} single blocks"
    )


def _is_linear(module: nn.Module) -> bool:
    """Plain, quantized, or packed for some device: all say how many values go in and come out."""
    return all(isinstance(getattr(module, side, None), int) for side in ("in_features", "out_features"))


def _parts(file: LoraFile) -> dict[str, dict[LoraKey, str]]:
    """The file's names, gathered by what they change."""
    parts: dict[str, dict[LoraKey, str]] = defaultdict(dict)
    for name, dtype in file.dtypes().items():
        if (found := parse_key(name)) is None:
            raise WeightsError(f"{file.title} is not a LoRA that is understood: it holds {shown(name)}")
        owner, part = found
        if part in parts[owner]:
            raise WeightsError(f"{file.title} changes {shown(owner)} twice")
        if dtype not in FLOATS:
            raise WeightsError(f"{file.title} holds {shown(name)} in {dtype}; only 16- and 32-bit floats are read")
        parts[owner][part] = name
    if not parts:
        raise WeightsError(f"{file.title} holds no tensors")
    return parts


def _patch(title: str, owner: str, slot: Slot, tensors: Mapping[LoraKey, Tensor], usual_alpha: float | None) -> Patch:
    down, up = (tensors.get(part) for part in (LoraKey.DOWN, LoraKey.UP))
    if down is None or up is None:
        raise WeightsError(f"{title} changes {shown(owner)} by half: one of its two matrices is missing")
    if down.ndim != 2 or up.ndim != 2 or len(down) != up.shape[1] or not len(down):
        shapes = f"{list(up.shape)} x {list(down.shape)}"
        raise WeightsError(f"{title} changes {shown(owner)} by matrices that do not fit together: {shapes}")
    if not down.isfinite().all() or not up.isfinite().all():
        raise WeightsError(f"{title} is damaged: its change of {shown(owner)} holds NaN or infinity")
    rank = len(down)
    scale = _alpha(title, owner, tensors.get(LoraKey.ALPHA), usual_alpha or rank) / rank
    return Patch(slot.begin, down.float(), slot.rearrange(up.float() * scale))


def _alpha(title: str, owner: str, alpha: Tensor | None, usual: float) -> float:
    """A file that says nothing has it included in its matrices: it is the rank, then."""
    if alpha is None:
        return usual
    if alpha.numel() != 1 or not bool(alpha.isfinite().all()):
        raise WeightsError(f"{title} gives {shown(owner)} an alpha that is not one finite number")
    return float(alpha)


def _misfit(owner: str, patch: Patch, linear: nn.Module, slot: Slot) -> str | None:
    inputs, outputs = (getattr(linear, side) for side in ("in_features", "out_features"))
    rows = slot.rows or outputs
    found, wanted = [len(patch.up), patch.down.shape[1]], [rows, inputs]
    return None if found == wanted else f"its change of {shown(owner)} is {found} instead of {wanted}"


@contextmanager
def applied(model: nn.Module, loras: Sequence[tuple[Lora, float]]) -> Iterator[None]:
    """While entered, `model` computes with these adaptations, each as strong as its number says."""
    by_module: dict[str, list[tuple[Patch, float]]] = defaultdict(list)
    for lora, weight in loras:
        for name, patches in lora.patches.items():
            by_module[name] += [(patch, weight) for patch in patches]
    with ExitStack() as stack:
        for name, weighted in by_module.items():
            handle = model.get_submodule(name).register_forward_hook(_adder(weighted))
            stack.callback(handle.remove)
        yield


def _adder(weighted: Sequence[tuple[Patch, float]]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def add(_: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> None:
        for patch, weight in weighted:
            patch.add_to(result, inputs[0], weight)

    return add
