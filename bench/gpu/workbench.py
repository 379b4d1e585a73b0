"""What all stages share: the device, the networks (made once, when first needed) and the ways to run them."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch

from bench.gpu.networks import REAL, TINY, Networks, Shapes, networks, twin
from bench.gpu.painter import Order, Painter
from bench.gpu.record import Record
from bildwerk.engine.attention_backend import Choice, fastest
from bildwerk.engine.compile import Bucket, Compiler, allow_recompiling
from bildwerk.engine.fast_path import accelerate, best_speed, decoder_shape, joint_shape
from bildwerk.engine.precision import Precision

T = TypeVar("T")

SHAPES_IN_ALL = 32
"""At most, of all stages and precisions."""


@dataclass(slots=True)
class Workbench:
    """`mode` is Inductor's; the peers are compiled with the same one."""

    device: torch.device
    shapes: Shapes
    record: Record
    folder: Path
    rounds: int
    mode: str | None = None
    _kept: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, device: str, tiny: bool, record: Record, rounds: int, mode: str | None = None) -> "Workbench":
        allow_recompiling(SHAPES_IN_ALL)
        return cls(torch.device(device), TINY if tiny else REAL, record, record.path.parent, rounds, mode)

    @property
    def tiny(self) -> bool:
        return self.shapes is TINY

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    @property
    def compiler(self) -> Compiler:
        """Without a GPU blocks are only traced: that they can be compiled in one piece is found out anywhere."""
        return Compiler(mode=self.mode) if self.device.type == "cuda" else Compiler(backend="eager")

    def kept(self, name: str, make: Callable[[], T]) -> T:
        """Made at the first call and remembered until `release`."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]  # type: ignore[return-value]

    def release(self) -> None:
        """Forget all networks and compiled code, and hand their memory back."""
        self._kept.clear()
        torch.compiler.reset()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def original(self) -> Networks:
        """The weights that all others share. It stays as written."""
        return self.kept("networks", lambda: networks(self.shapes, self.device, self.dtype))

    @property
    def eager(self) -> Painter:
        return self.kept("eager", lambda: self.painter(self.original))

    def fast(self, precision: Precision = Precision.BF16) -> Painter:
        return self.kept(f"fast {precision}", lambda: self._accelerated(precision))

    def painter(self, painted_by: Networks) -> Painter:
        return Painter(painted_by, self.shapes, self.device, self.dtype)

    def _accelerated(self, precision: Precision) -> Painter:
        copy = twin(self.original)
        best = best_speed(copy, precision, self.bucket(), self.shapes.text_tokens)
        accelerate(copy, replace(best, compiler=self.compiler, graphs=True))
        return self.painter(copy)

    def joint_attention(self) -> Choice:
        """What the transformer attends with, for the usual picture."""
        params, scale = self.shapes.transformer, self.shapes.autoencoder
        shape = joint_shape(params, scale, self.bucket(), self.shapes.text_tokens)
        return fastest(shape, self.dtype, self.device)

    def decoder_attention(self) -> Choice:
        """Likewise the decoder."""
        return fastest(decoder_shape(self.shapes.autoencoder, self.bucket()), self.dtype, self.device)

    def bucket(self, batch: int = 1, part: float = 1.0) -> Bucket:
        """The usual picture; `part` of its side."""
        side = int(self.shapes.side * part)
        return Bucket(batch, side, side)

    def tokens(self, bucket: Bucket) -> int:
        """Text and image together."""
        patch = 2 * self.shapes.autoencoder.downscale
        return self.shapes.text_tokens + (bucket.height // patch) * (bucket.width // patch)

    def order(self, bucket: Bucket, seed: int = 0) -> Order:
        return Order.of(self.shapes, bucket, self.device, seed)
