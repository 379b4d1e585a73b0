"""What this machine can do at all, measured in turn with the contenders: matrix products at the shapes of the model,
attention, and a copy.

R rows (tokens), K inputs, O outputs, H heads, L tokens, D head dim.
"""

import importlib
import time
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.cpu.conversation import Answer, Prepared, converse
from bench.cpu.material import Scale
from bench.cpu.workers.step import Task

Run = Callable[[], object]
KINDS = ("bf16", "bf16, packed", "int8")
ZERO_POINT = 128
"""Of unsigned activations: signed ones make oneDNN take a reference kernel, a thousand times slower."""


def main() -> None:
    task = Task.of_command_line()
    converse(lambda: _prepare(task))


def _prepare(task: Task) -> Prepared:
    importlib.import_module("torch._inductor.codegen.cpp")  # without it torch does not know oneDNN's operations
    scale = task.material.scale
    tokens = scale.image_tokens(task.side) + scale.shapes.text_tokens
    products = {shape: _product(*shape) for shape in _shapes(scale, tokens)}
    kinds = [kind for kind in KINDS if all(kind in runs for runs in products.values())]
    attentions = _attentions(scale, tokens)
    source = torch.ones(scale.copied_bytes, dtype=torch.uint8)
    target = torch.zeros_like(source)

    def measure() -> Answer:
        rates: dict[str, float] = {}
        started = time.perf_counter()
        for kind in kinds:
            operations = sum(2 * rows * inputs * outputs for rows, inputs, outputs in products)
            rates[kind] = operations / sum(_seconds(runs[kind]) for runs in products.values())
        for name, (operations, run) in attentions.items():
            rates[name] = operations / _seconds(run)
        rates["copy, bytes"] = 2 * len(source) / _seconds(lambda: target.copy_(source))
        return {"seconds": time.perf_counter() - started, "parts": rates}

    return Prepared({"products": [list(shape) for shape in products]}, measure)


def _seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _shapes(scale: Scale, tokens: int) -> list[tuple[int, int, int]]:
    """(R, K, O) of a double-stream block's products, with all tokens in one, and of a single-stream block's."""
    params = scale.shapes.transformer
    width, hidden = params.hidden_size, params.mlp_hidden_dim
    return [
        (tokens, width, 3 * width),
        (tokens, width, width),
        (tokens, width, hidden),
        (tokens, hidden, width),
        (tokens, width, 3 * width + hidden),
        (tokens, width + hidden, width),
    ]


def _product(rows: int, inputs: int, outputs: int) -> dict[str, Run]:
    """By kind, of those that this processor can do."""
    x, weight = torch.randn(rows, inputs).bfloat16(), torch.randn(outputs, inputs).mul(inputs**-0.5).bfloat16()
    kinds = {"bf16": _plain_product, "bf16, packed": _packed_product, "int8": _int8_product}
    found: dict[str, Run] = {}
    for kind, make in kinds.items():
        with suppress(RuntimeError):  # what the processor lacks, oneDNN refuses
            run = make(x, weight)
            run()
            found[kind] = run
    return found


def _plain_product(x: Tensor, weight: Tensor) -> Run:
    return lambda: F.linear(x, weight)


def _packed_product(x: Tensor, weight: Tensor) -> Run:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(x))
    return lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def _int8_product(x: Tensor, weight: Tensor) -> Run:
    scales = weight.float().abs().amax(dim=1) / 127
    values = (weight.float() / scales[:, None]).round().to(torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(values, list(x.shape))
    x_scale = float(x.abs().max()) / 127
    quantized = (x.float() / x_scale).round().add(ZERO_POINT).to(torch.uint8)
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    rest = (packed, scales, zeros, None, 1.0, 0, torch.bfloat16, "none", [], "")
    return lambda: torch.ops.onednn.qlinear_pointwise(quantized, x_scale, ZERO_POINT, *rest)


def _attentions(scale: Scale, tokens: int) -> dict[str, tuple[int, Run]]:
    """The operations of each, and how it is run."""
    params = scale.shapes.transformer
    q, k, v = (torch.randn(1, params.num_heads, tokens, params.head_dim).bfloat16() for _ in range(3))
    scores = torch.rand(1, params.num_heads, tokens, tokens).bfloat16()
    half = 2 * params.hidden_size * tokens**2
    return {
        "attention, torch's own": (2 * half, lambda: F.scaled_dot_product_attention(q, k, v)),
        "attention, q k as a product": (half, lambda: q @ k.transpose(-1, -2)),
        "attention, p v as a product": (half, lambda: scores @ v),
    }


if __name__ == "__main__":
    main()
