"""One block of each kind, run in every way there is: where the next gain may be found."""

from collections.abc import Callable

import torch
from torch import nn

from bench.gpu.networks import on_meta, randomize
from bench.gpu.record import Number, Numbers
from bench.gpu.timing import kernel_seconds
from bench.gpu.workbench import Workbench
from bildwerk.engine import attention_backend, precision, single_buffer
from bildwerk.engine.attention_backend import Candidate, candidates
from bildwerk.engine.gpu.compile import Compiler, compile_blocks
from bildwerk.engine.precision import Precision
from bildwerk.flux.layers import DoubleStreamBlock, SingleStreamBlock

Apply = Callable[[nn.Module], None]


@torch.inference_mode()
def run(bench: Workbench) -> Numbers:
    """Seconds a call at the usual size, or why it did not work."""
    return {"double": _all_ways(bench, DoubleStreamBlock), "single": _all_ways(bench, SingleStreamBlock)}


def _all_ways(bench: Workbench, block_class: type[nn.Module]) -> Numbers:
    """Attention is compared under the compiler, and the other ways with what the engine chose."""
    chosen = bench.joint_attention().candidate
    compiled = _compiled(bench.compiler)
    ways: dict[str, tuple[Candidate, tuple[Apply, ...]]] = {
        "as written": (chosen, ()),
        "one buffer": (chosen, (single_buffer.use,)),
        "int8, compiled": (chosen, (_quantized(Precision.INT8), compiled)),
        "fp8, as written": (chosen, (_quantized(Precision.FP8),)),
        "fp8, compiled": (chosen, (_quantized(Precision.FP8), compiled)),
    }
    ways |= {f"compiled, {one.name} attention": (one, (compiled,)) for one in candidates(bench.device)}
    if bench.device.type == "cuda":
        tuned = _compiled(Compiler(mode="max-autotune-no-cudagraphs"))
        ways |= {"tuned": (chosen, (tuned,)), "fp8, tuned": (chosen, (_quantized(Precision.FP8), tuned))}
    return {name: _seconds(bench, block_class, attend, applied) for name, (attend, applied) in ways.items()}


def _compiled(compiler: Compiler) -> Apply:
    return lambda block: compile_blocks(block, compiler)


def _quantized(chosen: Precision) -> Apply:
    return lambda block: precision.use(chosen, block)


def _seconds(bench: Workbench, block_class: type[nn.Module], attend: Candidate, applied: tuple[Apply, ...]) -> Number:
    block = randomize(
        on_meta(lambda: block_class(bench.shapes.transformer), bench.dtype).to_empty(device=bench.device), 0
    )
    attention_backend.use(attend.attend, block)
    for apply in applied:
        apply(block)
    try:
        return kernel_seconds(_call(bench, block), bench.device, rounds=bench.rounds)
    except (RuntimeError, NotImplementedError) as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def _call(bench: Workbench, block: nn.Module) -> Callable[[], object]:
    params = bench.shapes.transformer
    tokens = bench.tokens(bench.bucket())
    x = torch.randn(1, tokens, params.hidden_size, device=bench.device, dtype=bench.dtype)
    vec = torch.randn(1, params.hidden_size, device=bench.device, dtype=bench.dtype)
    rotary = torch.randn(tokens, params.head_dim // 2, 2, device=bench.device)
    if isinstance(block, DoubleStreamBlock):
        double = block.modulation(vec)
        text, image = x.split([bench.shapes.text_tokens, tokens - bench.shapes.text_tokens], dim=1)
        return lambda: block(image.contiguous(), text.contiguous(), double, rotary)
    assert isinstance(block, SingleStreamBlock)
    single = block.modulation(vec)[0]
    return lambda: block(x, single, rotary)
