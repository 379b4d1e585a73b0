"""`bildwerk generate`: pictures from a sentence, computed here, without a service or a database."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bildwerk.cli.arithmetic_options import Device, Dtype, Placement, Precision
from bildwerk.cli.engine_packages import needed_for
from bildwerk.cli.failure import CommandError
from bildwerk.cli.model_files import named_model
from bildwerk.cli.model_state import in_use
from bildwerk.cli.order import Order, Wishes, take_order
from bildwerk.cli.output_file import write_file
from bildwerk.cli.report import Report, open_report
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.request import (
    ENGINE_ENVIRONMENT,
    Engine,
    EngineError,
    EngineSpec,
    GeneratedImage,
    GenerateRequest,
    Progress,
)


def generate(
    prompt: str | None = None,
    *,
    output: Annotated[Path, Parameter(alias="-o")] = Path("bildwerk-{seed}.png"),
    size: str | None = None,
    steps: int | None = None,
    seed: int | None = None,
    n: Annotated[int, Parameter(alias="-n")] = 1,
    model: str = "flux-tiny",
    guidance: float | None = None,
    lora: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    device: Device = None,
    dtype: Dtype = None,
    precision: Precision | None = None,
    placement: Placement | None = None,
    json: bool | None = None,
) -> None:
    """Make pictures from a prompt, on this machine.

    Parameters
    ----------
    prompt
        What the picture should show. Without it, standard input is read.
    output
        File to write: .png, .jpg or .webp. {n} and {seed} in the name are filled in; several pictures get numbers.
    size
        Width and height in pixels, such as 512x512. Default: the model's own.
    steps
        Denoising steps, 1 to 50; more than the model was made for are lowered, with a warning.
    seed
        The same seed gives the same picture. Default: a random one, which is printed. Picture i uses seed + i.
    n
        Number of pictures, 1 to 100.
    model
        Id or short name of a model; see `bildwerk models list`.
    guidance
        Guidance scale, for models that have one.
    lora
        A LoRA to apply: a name from `bildwerk loras list` or the path of a file, and after a colon its weight from -4
        to 4, as in soft:0.5. Default weight: 1. Up to 5 can be given.
    device
        Where to compute: cpu, cuda, cuda:1, mps. Default: the GPU where there is one.
    dtype
        What to compute in: float32 (or fp32), bfloat16 (or bf16). Default: the model's own.
    precision
        What the large layers multiply in: bf16, int8, or on a GPU fp8. The narrower, the faster each picture, and
        the slower the loading. On a GPU also int4: less memory, no more speed, a visible loss. Default: as dtype, or
        int8 where the file is.
    placement
        Where the model's parts lie on a GPU: resident, text-streamed, modulation-streamed, all-streamed. What is
        streamed lies in the host's memory and visits. Default: as the free memory allows.
    json
        Print one JSON object a line. Default: only where standard output is not a terminal.
    """
    started = time.perf_counter()
    order = take_order(Wishes(prompt, output, size, steps, seed, n, model, guidance, lora))
    with in_use(named_model(order.spec.id)), open_report(json) as report:
        report.start(order.spec.id, order.request)
        report.warn(order.warnings)
        try:
            engine = load_engine(order.spec, Arithmetic(device, dtype, precision, placement), report)
            for batch in order.batches():
                make_pictures(engine, batch, order, report)
        except EngineError as error:
            raise CommandError(str(error)) from error
        report.end(order.request.num_images, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Where to compute and in what, as people name it; None leaves it to the engine."""

    device: str | None = None
    dtype: str | None = None
    precision: str | None = None
    placement: str | None = None


def load_engine(spec: EngineSpec, arithmetic: Arithmetic, report: Report, buckets: Sequence[Bucket] = ()) -> Engine:
    """buckets: what a GPU is to be made warm for, which takes minutes and is worth it for many pictures."""
    report.progress(Progress("load", 0, 1))
    os.environ.update(ENGINE_ENVIRONMENT | os.environ)
    with needed_for("making pictures here"):
        from bildwerk.engine.engine import FluxEngine
    engine = FluxEngine.load(
        spec,
        arithmetic.device,
        arithmetic.dtype,
        arithmetic.precision,
        placement=arithmetic.placement,
        buckets=buckets,
        on_warm=lambda _bucket, done, total: report.progress(Progress("warm up", done, total)),
    )
    report.progress(Progress("load", 1, 1))
    return engine


def make_pictures(engine: Engine, batch: GenerateRequest, order: Order, report: Report) -> None:
    """Write each picture as soon as it is there."""
    for event in engine.generate([batch]):
        match event:
            case Progress():
                report.progress(event)
            case GeneratedImage():
                path = order.path_of(event.seed)
                write_file(path, event.data)
                report.warn(event.warnings)
                report.image(path, event)
