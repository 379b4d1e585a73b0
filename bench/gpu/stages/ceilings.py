"""What the machine can do at all: matrix products at the shapes of FLUX, attention by each kernel, a plain copy."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.gpu.record import Numbers
from bench.gpu.timing import kernel_seconds
from bench.gpu.workbench import Workbench
from bildwerk.engine.attention_backend import Candidate, candidates
from bildwerk.engine.precision import to_float8

COPIED_BYTES = 4 * 2**30
LARGE = 8192
SIDES = {1024: 4352, 512: 1280}
"""Pixels a side, and the tokens of such a picture with its text."""
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


@torch.inference_mode()
def run(bench: Workbench) -> Numbers:
    tiny = bench.device.type != "cuda"
    return {
        "products": {name: _product(bench, *shape) for name, shape in _products(bench, tiny).items()},
        "attention": {
            str(tokens): _attention(bench, tokens) for tokens in ([24] if tiny else [4608, 4352, 1536, 1280])
        },
        "decoder attention": _attention_of(bench, (1, 1, 64, 32) if tiny else (1, 1, 16384, 512)),
        "copy_bytes_a_second": _copy(bench, 2**20 if tiny else COPIED_BYTES),
    }


def _products(bench: Workbench, tiny: bool) -> dict[str, tuple[int, int, int]]:
    """Name -> rows, inputs, outputs."""
    params = bench.shapes.transformer
    width, hidden = params.hidden_size, params.mlp_hidden_dim
    found: dict[str, tuple[int, int, int]] = {}
    for side, tokens in ({32: 24} if tiny else SIDES).items():
        found |= {
            f"single in, {side}": (tokens, width, 3 * width + hidden),
            f"single out, {side}": (tokens, width + hidden, width),
            f"qkv, {side}": (tokens - bench.shapes.text_tokens, width, 3 * width),
            f"mlp up, {side}": (tokens - bench.shapes.text_tokens, width, hidden),
            f"mlp down, {side}": (tokens - bench.shapes.text_tokens, hidden, width),
        }
    return found if tiny else found | {"large": (LARGE, LARGE, LARGE)}


def _product(bench: Workbench, rows: int, inputs: int, outputs: int) -> Numbers:
    x = torch.randn(rows, inputs, device=bench.device, dtype=bench.dtype)
    weight = torch.randn(outputs, inputs, device=bench.device, dtype=bench.dtype)
    operations = 2 * rows * inputs * outputs
    found: Numbers = {"shape": [rows, inputs, outputs], "bf16": _rate(bench, lambda: F.linear(x, weight), operations)}
    if bench.device.type == "cuda":
        (values, scales), (weights, weight_scales) = to_float8(x), to_float8(weight)
        found["fp8"] = _rate(bench, lambda: _float8_product(values, scales, weights, weight_scales), operations)
    else:
        found["fp8"] = "skipped: float8 products need CUDA"
    return found


def _float8_product(values: Tensor, scales: Tensor, weights: Tensor, weight_scales: Tensor) -> Tensor:
    return torch._scaled_mm(
        values, weights.t(), scale_a=scales, scale_b=weight_scales.t(), out_dtype=torch.bfloat16, use_fast_accum=True
    )


def _rate(bench: Workbench, run_once: Callable[[], object], operations: int) -> float:
    """Operations a second."""
    return operations / kernel_seconds(run_once, bench.device)


def _attention(bench: Workbench, tokens: int) -> Numbers:
    params = bench.shapes.transformer
    return _attention_of(bench, (1, params.num_heads, tokens, params.head_dim))


def _attention_of(bench: Workbench, shape: tuple[int, int, int, int]) -> Numbers:
    """Operations a second: by torch's own choice, by each backend alone, and by the engine's direct calls."""
    q, k, v = (torch.randn(shape, device=bench.device, dtype=bench.dtype) for _ in range(3))
    batch, heads, tokens, head_dim = shape
    operations = 4 * batch * heads * tokens**2 * head_dim
    tried: dict[str, Callable[[], object]] = {"by itself": lambda: F.scaled_dot_product_attention(q, k, v)}
    tried |= {f"only {name}": _restricted(backend, q, k, v) for name, backend in BACKENDS.items()}
    tried |= {f"direct {one.name}": _direct(one, q, k, v) for one in candidates(bench.device)}
    return {name: _rate_and_kernel(bench, run_once, operations) for name, run_once in tried.items()}


def _restricted(backend: SDPBackend, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], object]:
    def attend() -> Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v)

    return attend


def _direct(candidate: Candidate, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], object]:
    return lambda: candidate.attend(q, k, v)


def _rate_and_kernel(bench: Workbench, run_once: Callable[[], object], operations: int) -> Numbers:
    try:
        return {"rate": _rate(bench, run_once, operations), "kernel": _longest_kernel(bench, run_once)}
    except RuntimeError as error:
        return {"refused": str(error).splitlines()[0]}


def _longest_kernel(bench: Workbench, run_once: Callable[[], object]) -> str:
    """The name of what really ran: a backend that fell back shows another's kernel."""
    if bench.device.type != "cuda":
        return "not asked for without CUDA"
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run_once()
        torch.cuda.synchronize(bench.device)
    events = profile.key_averages()
    return max(events, key=lambda event: event.device_time_total).key[:120] if events else "none seen"


def _copy(bench: Workbench, size: int) -> float:
    """Bytes read and written a second."""
    source = torch.empty(size, dtype=torch.uint8, device=bench.device).random_()
    target = torch.empty_like(source)
    return 2 * size / kernel_seconds(lambda: target.copy_(source), bench.device)
