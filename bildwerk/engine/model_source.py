"""Where an engine gets its networks from: read from their folder, put on a device, and made fast there."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch

from bildwerk.engine.arithmetic import Arithmetic, as_file_says, make_fast
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.precision import Precision
from bildwerk.engine.request import EngineSpec, Warmth
from bildwerk.weights.load import Components, load_components


class ModelSource(Protocol):
    """`buckets` are the shapes that the networks are to be warm for, once `components` has made them."""

    @property
    def buckets(self) -> Sequence[Bucket]: ...

    @property
    def warmth(self) -> Warmth: ...

    @property
    def precision(self) -> Precision | None:
        """What the networks that `components` has made multiply in; None where they are as written."""
        ...

    def components(self) -> Components:
        """The networks, ready to be called, read anew each time. Raises `WeightsError`, and whatever says that memory
        is out."""
        ...

    def open(self) -> None:
        """Shapes that come from now on are compiled and recorded."""
        ...

    def seal(self) -> None:
        """All shapes are warm: nothing is to be compiled or recorded from now on."""
        ...

    def can_fall_back(self, batch: Bucket) -> bool:
        """Whether a batch of this shape, for which memory ran out, can be tried with networks that take less."""
        ...

    def fall_back(self, reason: str, batch: Bucket) -> None:
        """Memory ran out for a batch of this shape: the next `components` are to take less."""
        ...

    def should_return(self, batch: Bucket) -> bool:
        """Whether the networks have given way to another batch, and should not for one of this shape."""
        ...

    def come_back(self) -> None:
        """The next `components` are those that should be there for usual batches; they are to be warmed up."""
        ...

    @property
    def can_slow_down(self) -> bool: ...

    def slow_down(self, reason: str) -> None:
        """Warming up has failed: the next `components` are to do without what may be at fault."""
        ...


class PlainSource:
    """For devices on which everything is resident or nothing works: processors, and the GPUs of a Mac."""

    buckets: Sequence[Bucket] = ()
    can_slow_down = False

    def __init__(self, spec: EngineSpec, arithmetic: Arithmetic, device: torch.device, *, eager: bool) -> None:
        self._spec, self._device = spec, device
        self._arithmetic = replace(arithmetic, precision=None) if eager else arithmetic

    @property
    def precision(self) -> Precision | None:
        return self._arithmetic.precision

    @property
    def warmth(self) -> Warmth:
        return Warmth(speed="as written" if self.precision is None else f"fast on {self._device.type}")

    def components(self) -> Components:
        components = load_components(self._spec.folder, self._arithmetic.dtype, self._device)
        self._arithmetic = as_file_says(self._arithmetic, components.transformer, self._device)
        if self.precision is not None:
            make_fast(components, self._spec, self.precision, self._device)
        return components

    def open(self) -> None:
        pass

    def seal(self) -> None:
        pass

    def can_fall_back(self, batch: Bucket) -> bool:  # noqa: ARG002
        return False

    def fall_back(self, reason: str, batch: Bucket) -> None:
        raise NotImplementedError(reason)

    def should_return(self, batch: Bucket) -> bool:  # noqa: ARG002
        return False

    def come_back(self) -> None:
        raise NotImplementedError

    def slow_down(self, reason: str) -> None:
        raise NotImplementedError(reason)
