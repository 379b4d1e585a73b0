"""Which attention kernel is the fastest one here: timed once at load, and believed only after a check.

B batch, H heads, L tokens, D head dim.

`F.scaled_dot_product_attention` chooses by itself, and drops to a slower kernel in silence.  The candidates here name
their kernel, so one that cannot run raises instead, and is struck off with its reason.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from bildwerk.flux.attention import Attend, attention
from bildwerk.flux.layers import DoubleStreamBlock, SingleStreamBlock

QUERY_BLOCK = 512
MAX_RELATIVE_ERROR = 2e-2
CHECKED_HEADS, CHECKED_QUERIES = 2, 512

Timer = Callable[[Callable[[], Tensor]], float]


@dataclass(frozen=True, slots=True)
class Candidate:
    name: str
    attend: Attend


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one candidate: `seconds` a call, or why it is no candidate."""

    candidate: Candidate
    seconds: float | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    candidate: Candidate
    trials: tuple[Trial, ...]


def _joined_heads(attended: Tensor) -> Tensor:
    return attended.transpose(1, 2).flatten(2)


def cudnn_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q, k, v: B H L D -> B L (H D)."""
    return _joined_heads(torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, False)[0])


def flash_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q, k, v: B H L D -> B L (H D)."""
    return _joined_heads(torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[0])


def efficient_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q, k, v: B H L D -> B L (H D)."""
    return _joined_heads(torch.ops.aten._scaled_dot_product_efficient_attention(q, k, v, None, False)[0])


def matmul_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q, k, v: B H L D -> B L (H D), a block of queries at a time.

    On a CPU bfloat16 matrix products run at twice the rate of torch's own attention.
    """
    scaled_keys = (k * q.shape[-1] ** -0.5).transpose(-1, -2)
    blocks = [(block @ scaled_keys).softmax(-1) @ v for block in q.split(QUERY_BLOCK, dim=2)]
    return _joined_heads(torch.cat(blocks, dim=2))


def candidates(device: torch.device) -> tuple[Candidate, ...]:
    anywhere = Candidate("torch", attention), Candidate("matmul", matmul_attention)
    if device.type != "cuda":
        return anywhere
    return (
        *anywhere,
        Candidate("cudnn", cudnn_attention),
        Candidate("flash", flash_attention),
        Candidate("efficient", efficient_attention),
    )


def choose(
    shape: Sequence[int], dtype: torch.dtype, among: Iterable[Candidate], timer: Timer, device: torch.device
) -> Choice:
    """shape: (B, H, L, D) of the queries. The fastest candidate that computes attention at all.

    Raises `RuntimeError` with all reasons where none does.
    """
    q, k, v = _inputs(shape, dtype, device)
    expected = _reference(q, k, v)
    trials = tuple(_try(candidate, (q, k, v), expected, timer) for candidate in among)
    usable = [(trial.seconds, index) for index, trial in enumerate(trials) if trial.seconds is not None]
    if not usable:
        reasons = "; ".join(f"{trial.candidate.name}: {trial.refusal}" for trial in trials)
        raise RuntimeError(f"no attention kernel works at shape {tuple(shape)} in {dtype}: {reasons}")
    return Choice(trials[min(usable)[1]].candidate, trials)


def _inputs(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator(device).manual_seed(0)
    q, k, v = (torch.randn(*shape, generator=generator, device=device).to(dtype) for _ in range(3))
    return q, k, v


def _reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The first heads and queries of what attention should give, by its definition, in float32."""
    q, k, v = (x[:, :CHECKED_HEADS].float() for x in (q[:, :, :CHECKED_QUERIES], k, v))
    return _joined_heads((q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v)


def _try(candidate: Candidate, inputs: tuple[Tensor, Tensor, Tensor], expected: Tensor, timer: Timer) -> Trial:
    try:
        given = candidate.attend(*inputs)[:, : expected.shape[1], : expected.shape[2]].float()
        error = ((given - expected).norm() / expected.norm()).item()
        if not error <= MAX_RELATIVE_ERROR:
            return Trial(candidate, refusal=f"its result is off by {error:.1%}")
        return Trial(candidate, seconds=timer(lambda: candidate.attend(*inputs)))
    except (RuntimeError, NotImplementedError) as error:
        return Trial(candidate, refusal=str(error).splitlines()[0])


def median_seconds(run: Callable[[], Tensor], repeats: int = 5) -> float:
    """Of one call, after one to warm up; waits for the GPU where there is one."""
    result = run()
    seconds = []
    for _ in range(repeats):
        _wait_for(result.device)
        start = time.perf_counter()
        run()
        _wait_for(result.device)
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


_chosen: dict[tuple[str, torch.dtype, tuple[int, ...]], Choice] = {}


def fastest(shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> Choice:
    """shape: (B, H, L, D) of the queries. Measured once a process, then remembered."""
    key = (str(device), dtype, shape)
    if key not in _chosen:
        _chosen[key] = choose(shape, dtype, candidates(device), median_seconds, device)
    return _chosen[key]


def use(attend: Attend, model: nn.Module) -> None:
    """Every block of the model attends that way from now on."""
    for block in model.modules():
        if isinstance(block, DoubleStreamBlock | SingleStreamBlock):
            block.attend = attend
