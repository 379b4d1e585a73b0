"""A model on a GPU: laid out as the free memory allows, made fast, and laid out anew where the memory runs out."""

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from bildwerk.engine import out_of_memory
from bildwerk.engine.arithmetic import Arithmetic
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.fast_path import accelerate, timed_speed
from bildwerk.engine.gpu.accelerator import Accelerator
from bildwerk.engine.gpu.chosen_plan import ChosenPlan, largest_of
from bildwerk.engine.gpu.compile import compiled_graphs, uncompiled
from bildwerk.engine.gpu.footprint import Measured
from bildwerk.engine.gpu.graph_backend import RepeatedRuns
from bildwerk.engine.gpu.placement import fitting
from bildwerk.engine.gpu.plan import Placement, Plan, plans, plans_at
from bildwerk.engine.gpu.recorder import Recorder
from bildwerk.engine.gpu.streaming import place
from bildwerk.engine.precision import Precision
from bildwerk.engine.request import EngineError, EngineSpec, OutOfMemoryError, Warmth
from bildwerk.weights.load import Components, load_components

log = logging.getLogger("bildwerk.engine")


@dataclass(frozen=True, slots=True)
class Effort:
    """What is done for speed, beside the choice of attention."""

    name: str
    compiles: bool = False
    records: bool = False


AS_WRITTEN, UNPREPARED = Effort("as written"), Effort("attention chosen")
EFFORTS = (
    Effort("compiled and recorded", compiles=True, records=True),
    Effort("compiled", compiles=True),
    Effort("recorded", records=True),
    UNPREPARED,
)
"""Best first; where one fails, the next: it is not known which of the two has failed."""


class PlacedSource:
    """`wanted`: where the parts are to lie whatever is free. `buckets`: what to compile and record for; none, nothing,
    since both take longer than a picture. `read`: what else than the folder gives the networks."""

    def __init__(
        self,
        spec: EngineSpec,
        arithmetic: Arithmetic,
        accelerator: Accelerator,
        wanted: Placement | None = None,
        buckets: Sequence[Bucket] = (),
        *,
        eager: bool = False,
        read: Callable[[], Components] | None = None,
    ) -> None:
        self._read = read or (lambda: load_components(spec.folder, arithmetic.dtype, "cpu"))
        self.spec, self.arithmetic, self.accelerator, self.wanted = spec, arithmetic, accelerator, wanted
        is_prepared = bool(buckets) and not eager and arithmetic.precision is not None
        self.buckets: Sequence[Bucket] = tuple(buckets) if is_prepared else ()
        is_as_written = eager or arithmetic.precision is None
        self._efforts: Sequence[Effort] = (AS_WRITTEN,) if is_as_written else EFFORTS if self.buckets else (UNPREPARED,)
        self._precisions = (Precision.BF16,) if is_as_written else self._allowed_precisions()
        usual = Bucket(1, spec.default_height, spec.default_width)
        self._usual: Sequence[Bucket] = self.buckets or (usual,)
        self._chosen: ChosenPlan | None = None
        self._recorder = Recorder(accelerator.graphs(), uncompiled)
        self._compiled_before: int | None = None

    def _allowed_precisions(self) -> tuple[Precision, ...]:
        """What was asked for, or else eight bits where bfloat16 does not fit, and four where those do not."""
        asked, eight_bits = self.arithmetic.precision, self.accelerator.eight_bits
        assert asked is not None
        if asked is Precision.FP8 and eight_bits is not Precision.FP8:
            raise EngineError(
                f"precision fp8 cannot be had on {self.accelerator.device}, which has no products of float8; int8 can"
            )
        is_final = self.arithmetic.is_asked or asked is not Precision.BF16
        return (asked,) if is_final else (asked, eight_bits, Precision.INT4)

    @property
    def effort(self) -> Effort:
        is_hurried = self._chosen is not None and self._chosen.is_hurried
        return self._efforts[-1] if is_hurried else self._efforts[0]

    @property
    def plan(self) -> Plan:
        """Of the networks that `components` has made."""
        return self._choice.taken

    @property
    def _choice(self) -> ChosenPlan:
        assert self._chosen is not None, "nothing was loaded yet"
        return self._chosen

    @property
    def precision(self) -> Precision | None:
        return None if self.effort is AS_WRITTEN else self.plan.precision

    @property
    def warmth(self) -> Warmth:
        before = self._compiled_before
        is_as_stored = self.arithmetic.precision is None
        return Warmth(
            str(self.plan.placement if is_as_stored else self.plan),
            self.effort.name,
            self._recorder.recorded if self.effort.records else 0,
            0 if before is None else compiled_graphs() - before,
            self._recorder.plain_runs,
        )

    def components(self) -> Components:
        """As `ModelSource.components`. Where the chosen plan does not fit after all, a smaller one is taken."""
        largest = largest_of(self._usual)
        while True:
            try:
                return self._equipped()
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory.is_out_of_memory(error) or self._chosen is None or self._smaller(largest) is None:
                    raise
                reason = str(error)
            self._release()  # here, after the `except` block, whose traceback kept the tensors alive
            self._give_way(largest, reason, self._choice.settle)

    def open(self) -> None:
        self._recorder.is_open = True

    def seal(self) -> None:
        self._recorder.seal()
        if self.effort.compiles:
            self._compiled_before = compiled_graphs()

    def can_fall_back(self, batch: Bucket) -> bool:
        """While warming up, and after it a few times."""
        return (self._recorder.is_open or self._choice.may_fall) and self._smaller(batch) is not None

    def fall_back(self, reason: str, batch: Bucket) -> None:
        """While warming up for good, and for a batch of a usual size; for a larger one as long as such come.

        After the warm-up that batch is made unprepared: it waits, and compiling would take minutes."""
        is_warming, is_large = self._recorder.is_open, self._choice.is_large(batch)
        self._release(forgets=is_warming or not is_large)
        take = self._choice.settle if is_warming else lambda plan: self._choice.fall(plan, batch)
        self._give_way(batch, reason, take)

    def should_return(self, batch: Bucket) -> bool:
        """Unless all that could be won is what was never there."""
        chosen = self._choice
        is_worth_it = chosen.home != chosen.taken or bool(self.buckets)
        return chosen.is_hurried and is_worth_it and not chosen.is_large(batch)

    def come_back(self) -> None:
        """What was compiled for these networks is still there; what was recorded has to be recorded again."""
        self._choice.come_back()
        self._recorder.is_open = True
        log.info("%s: going on with %s again", self.spec.id, self.plan)
        self._release(forgets=False)

    @property
    def can_slow_down(self) -> bool:
        return len(self._efforts) > 1

    def slow_down(self, reason: str) -> None:
        tried, self._efforts = self._efforts[0], self._efforts[1:]
        log.warning("%s cannot be %s (%s); going on with it %s", self.spec.id, tried.name, reason, self.effort.name)
        self._release()

    def _smaller(self, batch: Bucket) -> Plan | None:
        return self._choice.smaller(batch, self.accelerator.free_bytes(), records=self.effort.records)

    def _give_way(self, batch: Bucket, reason: str, take: Callable[[Plan], None]) -> None:
        before, smaller = self.plan, self._smaller(batch)
        assert smaller is not None
        take(smaller)
        log.warning("%s: %s did not fit after all (%s); going on with %s", self.spec.id, before, reason, smaller)

    def _release(self, *, forgets: bool = True) -> None:
        """Hand back what the networks before have held; `forgets`: compiled code as well."""
        if forgets and (self.effort.records or self.effort.compiles or self._compiled_before is not None):
            torch.compiler.reset()
        gc.collect()
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()

    def _equipped(self) -> Components:
        read = self._read()
        if self._chosen is None:
            fit = self._fitting_plans(read)
            self._chosen = ChosenPlan(fit, Measured.of(read, fit), self._usual)
        place(read, self.plan, self.accelerator.device, self.accelerator.copies)
        if self.effort is not AS_WRITTEN:
            self._accelerate(read)
        return read

    def _accelerate(self, placed: Components) -> None:
        is_sealed = not self._recorder.is_open
        self._recorder = Recorder(self.accelerator.graphs() if self.effort.records else RepeatedRuns(), uncompiled)
        if is_sealed:
            self._recorder.seal()
        usual = Bucket(1, self.spec.default_height, self.spec.default_width)
        speed = timed_speed(placed, usual, self.spec.max_text_tokens)
        if self.effort.compiles:
            speed = replace(speed, compiler=self.accelerator.compiler)
        if self.effort.records or self.effort.compiles:  # else every size that comes would be compiled
            speed = replace(speed, recorder=self._recorder)
        accelerate(placed, speed)

    def _fitting_plans(self, read: Components) -> Sequence[Plan]:
        among = plans(self._precisions) if self.wanted is None else plans_at(self.wanted, self._precisions)
        try:
            return fitting(
                self.accelerator.free_bytes(), read, among, largest_of(self._usual), records=self.effort.records
            )
        except OutOfMemoryError as reason:
            if self.wanted is None:
                raise
            log.warning("%s: %s, but that is what was asked for", self.spec.id, reason)
            return among[:1]
