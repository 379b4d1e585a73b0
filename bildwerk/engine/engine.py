"""A loaded FLUX model: requests in, pictures out. `generate` is the whole way: encode, denoise, decode.

H W pixels.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import torch
from PIL import Image

from bildwerk.engine import out_of_memory
from bildwerk.engine.arithmetic import find_arithmetic
from bildwerk.engine.batch import Batch
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.consistency import check_consistency
from bildwerk.engine.denoising import Canvas, blank_canvas, denoise
from bildwerk.engine.devices import find_device, wait_for
from bildwerk.engine.fallback import falling_back
from bildwerk.engine.gpu.accelerator import Accelerator, accelerator_of
from bildwerk.engine.gpu.plan import Placement, find_placement
from bildwerk.engine.loras import LoraCache, adapted
from bildwerk.engine.model_source import ModelSource, PlainSource
from bildwerk.engine.placed_source import PlacedSource
from bildwerk.engine.precision import Precision
from bildwerk.engine.prompt_encoder import PromptEncoder
from bildwerk.engine.request import (
    LOADING,
    EngineError,
    EngineSpec,
    Event,
    GeneratedImage,
    GenerateRequest,
    IsCancelled,
    LostModelError,
    Progress,
    Warmth,
    never_cancelled,
)
from bildwerk.engine.stopwatch import Stopwatch
from bildwerk.engine.warm_up import OnWarm, warm_up, warming
from bildwerk.weights.errors import WeightsError

ENCODING_THREADS = 2


class FluxEngine:
    """Serves one batch at a time; `load` makes one. Pictures are turned into files on threads of its own."""

    def __init__(self, spec: EngineSpec, source: ModelSource, device: torch.device, dtype: torch.dtype) -> None:
        """See `load`."""
        self.spec = spec
        self.device = device
        self.dtype = dtype
        self.source = source
        self.encoding_threads = ThreadPoolExecutor(ENCODING_THREADS, thread_name_prefix="image-encoding")
        self._take_components()

    @classmethod
    def load(
        cls,
        spec: EngineSpec,
        device: str | None = None,
        dtype: str | None = None,
        precision: str | None = None,
        *,
        placement: str | None = None,
        buckets: Sequence[Bucket] = (),
        on_warm: OnWarm = lambda *_: None,
        eager: bool = False,
        accelerator: Accelerator | None = None,
    ) -> Self:
        """Read the model's folder. Without a device: the GPU where there is one; without a dtype: the spec's.

        Models in bfloat16 are made fast, in the `precision` bf16 if none is given (int8 on a CPU that multiplies it,
        where the transformer's file is int8); `eager` leaves them as written.
        On a GPU the parts lie where its free memory allows, or where `placement` says; and for the `buckets`, all is
        compiled and recorded now, of which `on_warm` is told. Whatever comes in another shape is computed without.
        `accelerator`: instead of the device's own.

        Raises `EngineError` for a folder that is incomplete or damaged, for a device, a precision or a placement that
        is not there, and for a device without enough memory (`OutOfMemoryError`).
        """
        chosen_device, chosen = find_device(device), find_arithmetic(spec, dtype, precision)
        wanted, gpu = find_placement(placement or spec.placement), accelerator or accelerator_of(chosen_device)
        if gpu is None and wanted not in (None, Placement.RESIDENT):
            raise EngineError(f"placement {wanted} is for GPUs: on {chosen_device} everything is resident")
        source: ModelSource = (
            PlainSource(spec, chosen, chosen_device, eager=eager)
            if gpu is None
            else PlacedSource(spec, chosen, gpu, wanted, buckets, eager=eager)
        )
        try:
            with out_of_memory.explained(f"the weights of {spec.id} in {_name(chosen.dtype)}", chosen_device):
                engine = cls(spec, source, chosen_device, chosen.dtype)
                warm_up(engine, on_warm)
        except (WeightsError, OSError) as error:
            raise EngineError(f"{spec.id} cannot be loaded: {error}") from error
        return engine

    def _take_components(self) -> None:
        """Raises `EngineError` where they do not belong together, and what `ModelSource.components` does."""
        self.components = self.source.components()
        check_consistency(self.spec, self.components)
        self.prompt_encoder = PromptEncoder(self.components, self.spec.max_text_tokens, self.device)
        self.loras = LoraCache(self.spec, self.components.transformer, self.dtype, self.device)

    @property
    def precision(self) -> Precision | None:
        """What the components were made fast in; None where they are as written."""
        return self.source.precision

    @property
    def warmth(self) -> Warmth:
        """What was prepared, and what happened since although it had been."""
        return self.source.warmth

    def can_fall_back(self, requests: Sequence[GenerateRequest]) -> bool:
        return self.source.can_fall_back(self._bucket(requests))

    def fall_back(self, reason: str, requests: Sequence[GenerateRequest]) -> None:
        """Load the model anew, so that it takes less memory. Raises `LostModelError`, as `slow_down`."""
        self._exchange_components(lambda: self.source.fall_back(reason, self._bucket(requests)))

    def make_ready(self, requests: Sequence[GenerateRequest]) -> Iterator[Event]:
        """Where it has fallen back for others than these, load the model as it was before, and warm it up.

        Raises `LostModelError` where that fails, as `load` fails then: a model that is warm for nothing would compile
        in the middle of every request.
        """
        if not self.source.should_return(self._bucket(requests)):
            return
        yield LOADING
        self._exchange_components(self.source.come_back)
        try:
            for _ in warming(self):
                yield LOADING
        except Exception as error:
            raise LostModelError(f"{self.spec.id} could not be made ready again: {error}") from error

    def slow_down(self, reason: str) -> None:
        """Load the model anew, without what may be at fault."""
        self._exchange_components(lambda: self.source.slow_down(reason))

    def _bucket(self, requests: Sequence[GenerateRequest]) -> Bucket:
        batch = Batch.of(self.spec, requests)
        return Bucket(len(batch.rows), batch.render_height, batch.render_width)

    def _exchange_components(self, change: Callable[[], None]) -> None:
        del self.components, self.prompt_encoder, self.loras  # there is no room for both
        change()
        try:
            self._take_components()
        except Exception as error:
            raise LostModelError(f"{self.spec.id} could not be loaded again: {error}") from error

    @falling_back
    @torch.inference_mode()
    def generate(
        self, requests: Sequence[GenerateRequest], is_cancelled: IsCancelled = never_cancelled
    ) -> Iterator[Event]:
        """As `Engine.generate`."""
        batch, clock = Batch.of(self.spec, requests), Stopwatch()
        with out_of_memory.explained(batch.description, self.device):
            loras = self.loras.loaded(batch.loras)
            with clock.stage("encode"):
                prompts = self.prompt_encoder.encode(batch.prompts)
                wait_for(self.device)
            yield Progress("encode", 1, 1)

            blank = canvas = blank_canvas(self.components, batch, prompts)
            steps = adapted(self.components.transformer, loras, denoise(self.components, blank, is_cancelled))
            for canvas in clock.each("denoise", steps):
                yield Progress("denoise", canvas.step, batch.steps)

            files: deque[Future[GeneratedImage]] = deque()
            for done, row in enumerate(canvas.rows(is_cancelled), start=1):
                with clock.stage("decode"):
                    image = self.decode(row)
                files.append(self.encoding_threads.submit(self.finish, row, image, dict(clock.seconds)))
                yield Progress("decode", done, len(canvas.batch.rows))
                yield from take_written(files)
            for file in files:
                yield file.result()

    def decode(self, canvas: Canvas) -> Image.Image:
        """The picture of a canvas of one row, RGB, at the size it was painted at."""
        pixels = self.components.autoencoder.decode(canvas.latents.to(self.dtype))[0].float()  # 3 H W
        if not pixels.isfinite().all():
            [row] = canvas.batch.rows
            adapted_by = "".join(f", with the LoRA {lora.name}" for lora in canvas.batch.loras)
            raise EngineError(
                f"{self.spec.id} computed NaN or infinity instead of a picture for seed {row.seed} in "
                f"{_name(self.dtype)}{adapted_by}: its weights are damaged, or that type is too narrow for them"
            )
        levels = pixels.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
        return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())

    def finish(self, canvas: Canvas, image: Image.Image, timings: Mapping[str, float]) -> GeneratedImage:
        """The file of a canvas of one row."""
        [row], [is_truncated] = canvas.batch.rows, canvas.prompts.truncated
        limit = f"{self.spec.id} reads {self.spec.max_text_tokens} tokens"
        warnings = [f"the prompt is too long and its end was cut: {limit}"] if is_truncated else []
        return row.finish(self.spec.id, image, timings, warnings)


def take_written(files: deque[Future[GeneratedImage]]) -> Iterator[GeneratedImage]:
    """The files that are written, from the first on, up to one that is still being written."""
    while files and files[0].done():
        yield files.popleft().result()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
