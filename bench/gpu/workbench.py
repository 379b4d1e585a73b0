"""What all stages share: the device, the networks (made once, when first needed) and the ways to run them."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch

from bench.gpu.model import reader, spec_of
from bench.gpu.networks import REAL, TINY, Networks, Shapes, networks
from bench.gpu.painter import Order, Painter
from bench.gpu.record import Record
from bildwerk.engine.arithmetic import Arithmetic
from bildwerk.engine.attention_backend import Choice, fastest
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.fast_path import decoder_shape, joint_shape
from bildwerk.engine.gpu.accelerator import Accelerator, accelerator_of, imitation
from bildwerk.engine.gpu.compile import Compiler, allow_recompiling
from bildwerk.engine.gpu.plan import Placement
from bildwerk.engine.placed_source import EFFORTS, PlacedSource
from bildwerk.engine.precision import Precision
from bildwerk.engine.warm_up import warm_up

T = TypeVar("T")

SHAPES_IN_ALL = 32
"""At most, of all stages and precisions."""
IMITATED_BYTES = 80 * 10**9
COMPILED = {effort.name for effort in EFFORTS if effort.compiles}


@dataclass(frozen=True, slots=True)
class Warm:
    """A shape that a stage paints in: how many pictures at once, and the parts of the usual side, height and width."""

    precision: Precision
    batch: int = 1
    side: tuple[float, float] = (1.0, 1.0)


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
    _warm: set[tuple[Precision, Bucket]] = field(default_factory=set)

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
        self._warm.clear()
        torch.compiler.reset()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def original(self) -> Networks:
        """The weights that all others share. It stays as written."""
        return self.kept("networks", lambda: networks(self.shapes, self.device, self.dtype))

    @property
    def accelerator(self) -> Accelerator:
        """Where there is no GPU, its imitation."""
        found = accelerator_of(self.device) or imitation(IMITATED_BYTES)
        return replace(found, compiler=self.compiler)

    @property
    def eager(self) -> Painter:
        """As written. It makes any picture, without a warm-up."""
        return self.kept("eager", lambda: Painter(self.engine(eager=True)))

    def fast(self, precision: Precision = Precision.BF16, bucket: Bucket | None = None) -> Painter:
        """Warm for the bucket; for the usual picture where none is given. Raises `RuntimeError` unless it is compiled.

        Whether it is recorded, too, is in the `warmth` that stands beside its numbers.
        """
        name = "fast" if precision is Precision.BF16 else f"fast {precision}"
        painter = self.kept(name, lambda: Painter(self.engine(precision, [self.bucket()])))
        wanted = bucket or self.bucket()
        if (precision, wanted) not in self._warm:
            warm_up(painter.engine, buckets=[wanted])
            self._warm.add((precision, wanted))
        if painter.engine.warmth.speed not in COMPILED:
            raise RuntimeError(f"the engine is only {painter.engine.warmth.speed}: see its warnings")
        return painter

    @property
    def has_networks(self) -> bool:
        return "networks" in self._kept

    @property
    def precisions_made(self) -> set[Precision]:
        """Those that something was compiled in."""
        return {precision for precision, _ in self._warm}

    def is_warm(self, shape: Warm) -> bool:
        height, width = (int(self.shapes.side * part) for part in shape.side)
        return (shape.precision, Bucket(shape.batch, height, width)) in self._warm

    def engine(
        self,
        precision: Precision = Precision.BF16,
        buckets: Sequence[Bucket] = (),
        *,
        networks: Networks | None = None,
        accelerator: Accelerator | None = None,
        placement: Placement | None = Placement.RESIDENT,
        eager: bool = False,
    ) -> FluxEngine:
        """The product's own, on the suite's weights, not yet warm."""
        spec, read = spec_of(self.shapes), reader(networks or self.original, self.shapes)
        arithmetic = Arithmetic(self.dtype, precision, is_asked=placement is not None)
        gpu = accelerator or self.accelerator
        source = PlacedSource(spec, arithmetic, gpu, placement, buckets, eager=eager, read=read)
        return FluxEngine(spec, source, self.device, self.dtype)

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
