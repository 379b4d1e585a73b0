"""Weights that lie in the host's memory and visit the device, a block at a time, the next one already on its way.

Each unit's weights are one run of bytes in page-locked memory, so that a visit is a single copy.  On the device two
slots take turns: while the block in one computes, the other is filled.  The slots are the only device memory taken.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bildwerk.engine import precision
from bildwerk.engine.gpu.copies import Copies, CudaCopies, MakeCopies, PlainCopies
from bildwerk.engine.gpu.footprint import SLOTS, blocks_of, modulations_of, tensors_of, text_blocks_of
from bildwerk.engine.gpu.plan import Plan
from bildwerk.engine.networks import Networks
from bildwerk.flux.layers import Modulation

ALIGNMENT = 256
MARK = "_is_streamed"
HOST = torch.device("cpu")

Prepare = Callable[[nn.Module], object]
"""Done to a module before its weights are put where they are to lie."""


def as_it_is(_module: nn.Module) -> None:
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A module whose call needs these tensors, and the one run of bytes that holds them."""

    module: nn.Module
    tensors: tuple[Tensor, ...]
    host: Tensor

    @classmethod
    def of(cls, module: nn.Module, apart: tuple[type[nn.Module], ...], on: torch.device, pinned: bool) -> "Unit":
        """Takes the module's weights to the host `on`; those of the classes `apart` stay where they are."""
        tensors = tuple(tensors_of(module, apart))
        host = torch.empty(sum(_padded(x) for x in tensors), dtype=torch.uint8, device=on, pin_memory=pinned)
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


def _padded(tensor: Tensor) -> int:
    size = tensor.numel() * tensor.element_size()
    return -(-size // ALIGNMENT) * ALIGNMENT


def is_streamed(module: nn.Module) -> bool:
    """Whether the weights of this very module lie elsewhere from call to call, so that it cannot be recorded."""
    return MARK in module.__dict__


class Streamed:
    """Modules that are called one after another, over and over. A call out of turn costs a wait, no more."""

    def __init__(
        self,
        modules: Sequence[nn.Module],
        device: torch.device,
        copies: Copies,
        apart: tuple[type[nn.Module], ...] = (),
        host: torch.device = HOST,
        *,
        prepare: Prepare = as_it_is,
    ) -> None:
        """Each module is prepared and taken to the host before the next, so that only one is on the device."""
        self.units = []
        for module in modules:
            prepare(module)
            self.units.append(Unit.of(module, apart, host, pinned=device.type == "cuda"))
        largest = max(unit.host.numel() for unit in self.units)
        self.slots = [torch.empty(largest, dtype=torch.uint8, device=device) for _ in range(SLOTS)]
        self._copies = copies
        self._coming: tuple[int, int] | None = None  # unit, slot
        for index, unit in enumerate(self.units):
            unit.module.__dict__[MARK] = True
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


def place(
    networks: Networks,
    plan: Plan,
    device: torch.device,
    copies: MakeCopies | None = None,
    host: torch.device = HOST,
) -> list[Streamed]:
    """Put every part where the plan says, quantized as it says; the networks come from the host's memory.

    The device quantizes, which it is quick at, one layer at a time. Never more than one block is there before it is in
    its place, and the host never holds a layer twice, but as its file's pages. What is streamed cannot be recorded.
    """
    flux, t5 = networks.transformer, networks.t5
    make_copies = copies or (CudaCopies if device.type == "cuda" else PlainCopies)

    def quantize(block: nn.Module) -> None:
        precision.use(plan.precision, block, device)

    def quantize_text(block: nn.Module) -> None:
        precision.use_in_text_encoder(plan.text, block, device)

    streamed = []
    for modules, apart, prepare, is_streamed_part in (
        (blocks_of(flux), (Modulation,), quantize, plan.streams_blocks),
        (modulations_of(flux), (), as_it_is, plan.streams_modulation),
        (text_blocks_of(t5), (nn.Embedding,), quantize_text, plan.streams_text),
    ):
        if is_streamed_part:
            streamed.append(Streamed(modules, device, make_copies(device), apart, host, prepare=prepare))
        else:
            for module in modules:
                prepare(module)
    _settle(networks, streamed, device)
    return streamed


def _settle(networks: Networks, streamed: Iterable[Streamed], device: torch.device) -> None:
    """All that is not streamed goes to the device."""
    travelling = {id(tensor) for stream in streamed for unit in stream.units for tensor in unit.tensors}
    for network in (networks.transformer, networks.t5, networks.clip, networks.autoencoder):
        for tensor in [*network.parameters(), *network.buffers()]:
            if id(tensor) not in travelling:
                tensor.data = tensor.data.to(device)
