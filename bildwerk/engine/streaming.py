"""Weights that lie in the host's memory and visit the device, a block at a time, the next one already on its way.

Each unit's weights are one run of bytes in page-locked memory, so that a visit is a single copy.  On the device two
slots take turns: while the block in one computes, the other is filled.  The slots are the only device memory taken.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bildwerk.engine import precision
from bildwerk.engine.copies import Copies, CudaCopies, MakeCopies, PlainCopies
from bildwerk.engine.networks import Networks
from bildwerk.engine.placement import SLOTS, Plan
from bildwerk.flux.layers import DoubleStreamBlock, Modulation, SingleStreamBlock
from bildwerk.flux.t5 import Block as T5Block

ALIGNMENT = 256


@dataclass(frozen=True, slots=True)
class Unit:
    """A module whose call needs these tensors, and the one run of bytes that holds them."""

    module: nn.Module
    tensors: tuple[Tensor, ...]
    host: Tensor

    @classmethod
    def of(cls, module: nn.Module, apart: tuple[type[nn.Module], ...], pinned: bool) -> "Unit":
        """Takes the module's weights off the device; those of the classes `apart` stay where they are."""
        tensors = tuple(_tensors(module, apart))
        host = torch.empty(sum(_padded(x) for x in tensors), dtype=torch.uint8, pin_memory=pinned)
        unit = cls(module, tensors, host)
        for tensor, place in zip(tensors, unit.views(host), strict=True):
            place.copy_(tensor)
        unit.bind(host)
        return unit

    def views(self, run: Tensor) -> list[Tensor]:
        """The tensors as they lie in a run of bytes."""
        found, start = [], 0
        for tensor in self.tensors:
            size = tensor.numel() * tensor.element_size()
            found.append(run[start : start + size].view(tensor.dtype).view(tensor.shape))
            start += _padded(tensor)
        return found

    def bind(self, run: Tensor) -> None:
        """The module computes with the weights in this run of bytes."""
        for tensor, place in zip(self.tensors, self.views(run), strict=True):
            tensor.data = place


def _tensors(module: nn.Module, apart: tuple[type[nn.Module], ...]) -> Iterable[Tensor]:
    if not isinstance(module, apart):
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
        for child in module.children():
            yield from _tensors(child, apart)


def _padded(tensor: Tensor) -> int:
    size = tensor.numel() * tensor.element_size()
    return -(-size // ALIGNMENT) * ALIGNMENT


class Streamed:
    """Modules that are called one after another, over and over. A call out of turn costs a wait, no more."""

    def __init__(
        self,
        modules: Sequence[nn.Module],
        device: torch.device,
        copies: Copies,
        apart: tuple[type[nn.Module], ...] = (),
    ) -> None:
        self.units = [Unit.of(module, apart, pinned=device.type == "cuda") for module in modules]
        largest = max(unit.host.numel() for unit in self.units)
        self.slots = [torch.empty(largest, dtype=torch.uint8, device=device) for _ in range(SLOTS)]
        self._copies = copies
        self._coming: tuple[int, int] | None = None  # unit, slot
        for index, unit in enumerate(self.units):
            unit.module.register_forward_pre_hook(lambda *_, index=index: self._arrive(index))
            unit.module.register_forward_hook(lambda *_, index=index: self._leave(index), always_call=True)

    def _arrive(self, index: int) -> None:
        if self._coming is None or self._coming[0] != index:
            self._begin(index)
        slot = self._slot_of(index)
        self._copies.wait(slot)
        self.units[index].bind(self.slots[slot])
        self._here = slot
        self._begin((index + 1) % len(self.units))

    def _begin(self, index: int) -> None:
        slot = 0 if self._coming is None else 1 - self._coming[1]
        host = self.units[index].host
        self._copies.begin(slot, self.slots[slot][: host.numel()], host)
        self._coming = (index, slot)

    def _slot_of(self, index: int) -> int:
        assert self._coming is not None
        assert self._coming[0] == index
        return self._coming[1]

    def _leave(self, index: int) -> None:
        self._copies.release(self._here)
        self.units[index].bind(self.units[index].host)


def place(networks: Networks, plan: Plan, device: torch.device, copies: MakeCopies | None = None) -> list[Streamed]:
    """Put every part where the plan says, quantized as it says; the networks come from the host's memory.

    Never more than one block is on the device before it is in its place. What is streamed cannot be graphed.
    """
    flux = networks.transformer
    blocks = [block for block in flux.modules() if isinstance(block, DoubleStreamBlock | SingleStreamBlock)]
    modulations = [part for part in flux.modules() if isinstance(part, Modulation)]
    texts = [block for block in networks.t5.modules() if isinstance(block, T5Block)]
    _quantize(blocks, plan, device)
    make_copies = copies or (CudaCopies if device.type == "cuda" else PlainCopies)
    streamed = [
        Streamed(modules, device, make_copies(device), apart)
        for modules, apart, wanted in (
            (blocks, (Modulation,), plan.streams_blocks),
            (modulations, (), plan.streams_modulation),
            (texts, (nn.Embedding,), plan.streams_text),
        )
        if wanted
    ]
    _settle(networks, streamed, device)
    return streamed


def _quantize(blocks: Iterable[nn.Module], plan: Plan, device: torch.device) -> None:
    """One block at a time on the device, which is quick at it."""
    if plan.precision is precision.Precision.BF16:
        return
    for block in blocks:
        block.to(device)
        precision.use(plan.precision, block)
        block.to("cpu" if plan.streams_blocks else device)
        if plan.streams_modulation:
            _to(block, Modulation, torch.device("cpu"))


def _to(block: nn.Module, kind: type[nn.Module], device: torch.device) -> None:
    for part in block.children():
        if isinstance(part, kind):
            part.to(device)


def _settle(networks: Networks, streamed: Iterable[Streamed], device: torch.device) -> None:
    """All that is not streamed goes to the device."""
    travelling = {id(tensor) for stream in streamed for unit in stream.units for tensor in unit.tensors}
    for network in (networks.transformer, networks.t5, networks.clip, networks.autoencoder):
        for tensor in [*network.parameters(), *network.buffers()]:
            if id(tensor) not in travelling:
                tensor.data = tensor.data.to(device)
