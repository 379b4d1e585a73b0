"""What each device here could do with each model: which precision its memory holds, and about how long a picture takes.

`python -m bildwerk.engine.outlook` reads a JSON object of `Asked` by model's id, prints the list of devices and the
outlooks as a line of JSON, for those who must not import torch. It takes a fraction of a second a device.
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from bildwerk.engine.buckets import Bucket
from bildwerk.engine.devices import devices, find_dtype, wait_for
from bildwerk.engine.flop_count import picture_flops
from bildwerk.engine.gpu.accelerator import accelerator_of
from bildwerk.engine.gpu.footprint import BYTES, GIB, LIBRARIES, footprint
from bildwerk.engine.gpu.plan import Placement, Plan, plans
from bildwerk.engine.model_shapes import StoredModel, read_stored_model
from bildwerk.engine.networks import ModelShapes
from bildwerk.engine.precision import Precision
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.weights.errors import WeightsError

RESIDENT = Plan(Placement.RESIDENT, Precision.BF16)
AS_IT_IS = "as it is here"
SIZES_IN_FILES = {"8 bits": 8.5 / 16, "4 bits": 4.5 / 16}
"""Of bfloat16's, for the linear layers of transformer and T5: Q8_0 and Q4_0 with their scales; fp8 is a little less."""
ROWS, SIDE = 512, 3072
MEASURED_SECONDS = 0.25
USUAL_SHARE = 0.75
"""Of the rate of plain matrix products that a whole picture usually reaches, by measurement on CPUs and GPUs."""
PUBLISHED = ModelShapes(TransformerParams(), T5Params(), ClipParams(), AutoencoderParams())
"""Of a model whose files are not here."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A model; `folder` only where its files are complete."""

    folder: str | None
    dtype: str
    width: int
    height: int
    steps: int
    text_tokens: int


@dataclass(frozen=True, slots=True)
class PlanOutlook:
    """A way to lay a model out on a GPU, and the bytes that it is planned to take there. text: T5's precision."""

    placement: str
    precision: str
    text: str
    gib: float
    fits: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """needs_gib: by precision, the widest first; `seconds` of one picture, estimated from `gflops` measured.

    `plans`: on a GPU, best first, of a model in bfloat16; the first that fits is what loading would take.
    """

    device: str
    free_gib: float | None
    needs_gib: Mapping[str, float]
    fits: tuple[str, ...]
    tflop: float
    gflops: float
    seconds: float
    plans: tuple[PlanOutlook, ...] = ()


def plan_outlooks(shapes: ModelShapes, size: Bucket, free_bytes: int, eight_bits: Precision) -> tuple[PlanOutlook, ...]:
    """For weights in bfloat16; those that are packed in their files take less."""
    needs = [footprint(plan, shapes, size) for plan in plans((Precision.BF16, eight_bits, Precision.INT4))]
    return tuple(
        PlanOutlook(
            need.plan.placement,
            need.plan.precision,
            need.plan.text,
            round(need.total / GIB, 1),
            need.total <= free_bytes,
        )
        for need in needs
    )


def memory_needs(model: StoredModel | ModelShapes, dtype: str, height: int, width: int) -> dict[str, int]:
    """Bytes, the most first: of the files that are here, or else of those that are published; and of smaller ones."""
    shapes = model.shapes if isinstance(model, StoredModel) else model
    need = footprint(RESIDENT, shapes, Bucket(1, height, width))
    beside = LIBRARIES + (need.total - need.weights - LIBRARIES) * find_dtype(dtype).itemsize // BYTES
    linear = need.blocks + need.modulation + need.text
    smaller = {name: need.rest + int(linear * share) + beside for name, share in SIZES_IN_FILES.items()}
    if isinstance(model, ModelShapes):
        return {dtype: need.weights + beside} | smaller
    here = model.weight_bytes + beside
    return {AS_IT_IS: here} | ({} if dtype == "float32" else {name: b for name, b in smaller.items() if b < here})


def matrix_rate(device: torch.device, dtype: torch.dtype, seconds: float = MEASURED_SECONDS) -> float:
    """Operations a second of a product as FLUX has them, the best of as many as fit into `seconds`."""
    a, b = (torch.full(shape, 0.5, device=device, dtype=dtype) for shape in ((ROWS, SIDE), (SIDE, SIDE)))
    best, deadline = float("inf"), time.perf_counter() + seconds
    with torch.inference_mode():
        wait_for(device)
        while True:
            started = time.perf_counter()
            a @ b
            wait_for(device)
            ended = time.perf_counter()
            best = min(best, ended - started)
            if ended > deadline:
                return 2 * ROWS * SIDE * SIDE / best


def outlook(
    asked: Asked,
    model: StoredModel | ModelShapes,
    device: str,
    free_bytes: int | None,
    rate: float,
    *,
    eight_bits: Precision | None = None,
) -> Outlook:
    """rate: of matrix products in the model's dtype, operations a second. eight_bits: what a GPU resorts to."""
    shapes = model.shapes if isinstance(model, StoredModel) else model
    needs = memory_needs(model, asked.dtype, asked.height, asked.width)
    flops = picture_flops(shapes, asked.height, asked.width, asked.steps, asked.text_tokens)
    return Outlook(
        device=device,
        free_gib=None if free_bytes is None else round(free_bytes / GIB, 1),
        needs_gib={name: round(need / GIB, 1) for name, need in needs.items()},
        fits=tuple(name for name, need in needs.items() if free_bytes is None or need <= free_bytes),
        tflop=round(flops / 1e12, 3),
        gflops=round(rate / 1e9, 1),
        seconds=flops / (rate * USUAL_SHARE),
        plans=()
        if eight_bits is None or free_bytes is None or asked.dtype != "bfloat16"
        else plan_outlooks(shapes, Bucket(1, asked.height, asked.width), free_bytes, eight_bits),
    )


def outlooks(models: Mapping[str, Asked], host_free_bytes: int | None) -> dict[str, Any]:
    """By model: an outlook a device, or what is wrong with its files."""
    found: dict[str, Any] = {}
    known: dict[str, StoredModel | ModelShapes] = {}
    for name, asked in models.items():
        try:
            known[name] = _known(asked)
            found[name] = []
        except WeightsError as error:
            found[name] = {"error": str(error)}
    for listed in devices():
        device = torch.device(str(listed["name"]))
        free = host_free_bytes if device.type == "cpu" else _free_bytes(device)
        gpu = accelerator_of(device)
        eight_bits = None if gpu is None else gpu.eight_bits
        rates = {dtype: matrix_rate(device, find_dtype(dtype)) for dtype in {models[name].dtype for name in known}}
        for name, model in known.items():
            asked = models[name]
            found[name].append(
                asdict(outlook(asked, model, str(device), free, rates[asked.dtype], eight_bits=eight_bits))
            )
    return found


def _known(asked: Asked) -> StoredModel | ModelShapes:
    if asked.folder is None:
        return PUBLISHED
    return read_stored_model(Path(asked.folder), find_dtype(asked.dtype).itemsize)


def _free_bytes(device: torch.device) -> int | None:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def main() -> None:
    question = json.load(sys.stdin)
    models = {name: Asked(**asked) for name, asked in question["models"].items()}
    answer = {"torch": torch.__version__, "cuda": torch.version.cuda, "devices": devices()}
    print(json.dumps(answer | {"models": outlooks(models, question["host_free_bytes"])}))  # noqa: T201


if __name__ == "__main__":
    main()
