"""`bildwerk bench`: how fast is this machine, with the model that is here?"""

import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bildwerk.cli.arithmetic_options import Device, Dtype, Placement, Precision
from bildwerk.cli.commands.generate import Arithmetic, load_engine
from bildwerk.cli.failure import CommandError, UsageError
from bildwerk.cli.machine import package_version, read_machine
from bildwerk.cli.order import Order, Wishes, take_order
from bildwerk.cli.progress_bar import ProgressBar
from bildwerk.cli.report import TextReport
from bildwerk.cli.standard_output import write_answer
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.fitting import fit
from bildwerk.engine.measurement import Measurement, measure
from bildwerk.engine.request import EngineError, Warmth

PROMPT = "A beautiful landscape with mountains and lake"
SEED = 26
DEFAULT_SECONDS, MOST_SECONDS = 10.0, 3600.0


@dataclass(frozen=True, slots=True)
class Speed:
    """`rates`: operations a second of matrix products, by type."""

    order: Order
    device: dict[str, Any]
    load_seconds: float
    measurement: Measurement
    rates: dict[str, float]
    warmth: Warmth


def bench(
    *,
    model: str = "flux-tiny",
    size: str | None = None,
    steps: int | None = None,
    seconds: float = DEFAULT_SECONDS,
    device: Device = None,
    dtype: Dtype = None,
    precision: Precision | None = None,
    placement: Placement | None = None,
    json: bool | None = None,
) -> None:
    """Measure how fast this machine makes pictures, warm, and what it could do at most. No picture is kept.

    Parameters
    ----------
    model
        Id or short name of a model; see `bildwerk models list`.
    size
        Width and height in pixels, such as 512x512. Default: the model's own.
    steps
        Denoising steps. Default: the model's own.
    seconds
        How long to measure, up to 3600; three pictures after the first are made in any case.
    device
        Where to compute: cpu, cuda, cuda:1, mps. Default: the GPU where there is one.
    dtype
        What to compute in: float32 (or fp32), bfloat16 (or bf16). Default: the model's own.
    precision
        What the large layers multiply in: bf16, int8, or on a GPU fp8 and int4. Default: as dtype, or int8
        where the file is.
    placement
        Where the model's parts lie on a GPU: resident, text-streamed, modulation-streamed, all-streamed. Default: as
        the free memory allows.
    json
        Print a JSON object. Default: only where standard output is not a terminal.
    """
    if not 0 <= seconds <= MOST_SECONDS:
        raise UsageError(f"--seconds {seconds:g} is outside 0 to {MOST_SECONDS:g}")
    order = take_order(Wishes(PROMPT, Path(tempfile.gettempdir(), "bench.png"), size, steps, SEED, model=model))
    try:
        speed = measured(order, seconds, Arithmetic(device, dtype, precision, placement))
    except EngineError as error:
        raise CommandError(str(error)) from error
    write_answer(json, as_json(speed), as_text(speed))


def measured(order: Order, seconds: float, arithmetic: Arithmetic) -> Speed:
    """Raises `EngineError`, as loading and generating do."""
    with closing(ProgressBar(sys.stderr)) as bar:
        report = TextReport(bar)
        report.warn(order.warnings)
        started = time.perf_counter()
        size = Bucket(1, *painted_size(order))
        engine: Any = load_engine(order.spec, arithmetic, report, [size])
        loaded = time.perf_counter() - started
        found = measure(engine, order.request, seconds, lambda done: bar.show("pictures", done, max(done, 3)))
    from bildwerk.engine.product_rate import describe, product_rates

    device = describe(engine.device, engine.dtype) | {"precision": engine.precision}
    return Speed(order, device, loaded, found, product_rates(engine.device), engine.warmth)


def painted_size(order: Order) -> tuple[int, int]:
    """Height and width that the model itself paints at."""
    fitted = fit(order.spec, order.request)
    return fitted.render_height, fitted.render_width


def as_json(speed: Speed) -> dict[str, object]:
    request, found = speed.order.request, speed.measurement
    return {
        "model": speed.order.spec.id,
        "width": request.width,
        "height": request.height,
        "steps": request.steps,
        **speed.device,
        "warmth": asdict(speed.warmth),
        "load_seconds": round(speed.load_seconds, 3),
        "first_seconds": round(found.first.seconds, 4),
        "pictures": len(found.pictures),
        "seconds": round(found.seconds, 4),
        "fastest": round(found.fastest, 4),
        "slowest": round(found.slowest, 4),
        "seconds_a_step": round(found.seconds_a_step, 4),
        "stages": {stage: round(seconds, 4) for stage, seconds in found.stages.items()},
        "product_operations_a_second": {name: round(rate) for name, rate in speed.rates.items()},
        "warnings": speed.order.warnings,
        "machine": asdict(read_machine()),
        "versions": {name: package_version(name) for name in ("bildwerk", "torch")},
    }


def as_text(speed: Speed) -> list[str]:
    request, found, device = speed.order.request, speed.measurement, speed.device
    products = f" with products in {device['precision']}" if device["precision"] else ""
    rates = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in speed.rates.items())
    return [
        f"{speed.order.spec.id}, {request.width}x{request.height}, {request.steps} steps; {device['dtype']}{products} "
        f"on {device['device']}, threads: {device['threads']}",
        f"picture   {found.seconds:8.3f} s   median of {len(found.pictures)}, "
        f"{found.fastest:.3f} to {found.slowest:.3f}; the first {found.first.seconds:.3f}",
        *(stage_line(stage, seconds, found) for stage, seconds in found.stages.items()),
        f"load      {speed.load_seconds:8.3f} s   {prepared(speed.warmth)}",
        f"products  {rates}",
    ]


def prepared(warmth: Warmth) -> str:
    """What was done for speed, and what came in the way of it while measuring."""
    faults = f", {warmth.compiled} compiled meanwhile" if warmth.compiled else ""
    faults += f", {warmth.plain_runs} calls in other shapes" if warmth.plain_runs else ""
    return f"{warmth.placement}, {warmth.speed}{faults}"


def stage_line(stage: str, seconds: float, found: Measurement) -> str:
    a_step = f"   {found.seconds_a_step:.3f} s a step" if stage == "denoise" else ""
    return f"  {stage:8}{seconds:8.3f} s   {seconds / found.seconds:4.0%}{a_step}"
