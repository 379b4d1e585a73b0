"""The LoRAs of a running model: those used last stay loaded, and each batch is computed with its own.

Nothing is merged into the weights, so a batch without LoRAs is computed as if there had never been any.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from bildwerk.engine.cpu.blocks import notices_hooks
from bildwerk.engine.lora_choices import place_of, require_version
from bildwerk.engine.request import EngineSpec, LoraChoice, LoraError
from bildwerk.flux.transformer import Flux
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.lora import Lora, applied, as_lora
from bildwerk.weights.lora_file import LoraFile
from bildwerk.weights.lora_place import LoraPlace

T = TypeVar("T")

MAX_CACHED_BYTES = 2**30
REPLACED = ("forward", "modulation")
"""What `fast_path` hangs on the instances of the transformer's modules."""
Weighted = list[tuple[Lora, float]]


class LoraCache:
    """Holds at most `max_bytes` of matrices on the device, beside those of the batch that runs."""

    def __init__(
        self,
        spec: EngineSpec,
        model: Flux,
        dtype: torch.dtype,
        device: torch.device,
        max_bytes: int = MAX_CACHED_BYTES,
    ) -> None:
        self.max_bytes = max_bytes
        self._spec, self._model, self._dtype, self._device = spec, model, dtype, device
        self._held: OrderedDict[tuple[LoraPlace, str], Lora] = OrderedDict()

    @property
    def byte_count(self) -> int:
        return sum(lora.byte_count for lora in self._held.values())

    def __len__(self) -> int:
        return len(self._held)

    def loaded(self, choices: Sequence[LoraChoice]) -> Weighted:
        """These, ready to be applied. Raises `LoraError` for the first that cannot be."""
        return [(self._one(choice), choice.scale) for choice in choices]

    def _one(self, choice: LoraChoice) -> Lora:
        place = place_of(self._spec, choice)
        try:
            version = place.version()
            require_version(choice, version)
            return self._recalled(place, version) or self._read(place, choice)
        except WeightsError as error:
            raise LoraError(str(error)) from error

    def _recalled(self, place: LoraPlace, version: str) -> Lora | None:
        """What is held of that very version; another one of the same file is let go."""
        for key in [key for key in self._held if key[0] == place and key[1] != version]:
            del self._held[key]
        if (place, version) in self._held:
            self._held.move_to_end((place, version))
        return self._held.get((place, version))

    def _read(self, place: LoraPlace, choice: LoraChoice) -> Lora:
        file = LoraFile.read(place)
        require_version(choice, file.version)
        lora = as_lora(file, self._model, self._dtype, self._device)
        self._keep((place, file.version), lora)
        return lora

    def _keep(self, key: tuple[LoraPlace, str], lora: Lora) -> None:
        """Unless it alone is too large; for the others' room, those that were not used for longest."""
        if lora.byte_count > self.max_bytes:
            return
        while self.byte_count + lora.byte_count > self.max_bytes:
            self._held.popitem(last=False)
        self._held[key] = lora


@contextmanager
def as_written(model: nn.Module) -> Iterator[None]:
    """While entered, nothing compiled or recorded stands in for a module: it would not notice that it is adapted."""
    found = [(part, name) for part in model.modules() for name in REPLACED if name in part.__dict__]
    found = [(part, name) for part, name in found if not notices_hooks(part.__dict__[name])]
    taken = [(part, name, part.__dict__.pop(name)) for part, name in found]
    try:
        yield
    finally:
        for part, name, fast in taken:
            part.__dict__[name] = fast


def adapted(model: Flux, loras: Weighted, steps: Iterator[T]) -> Iterator[T]:
    """`steps`, each computed with these LoRAs. Between two steps the model is as it was."""
    if not loras:
        yield from steps
        return
    while True:
        with as_written(model), applied(model, loras):
            step = next(steps, None)
        if step is None:
            return
        yield step
