"""What only a GPU has: memory that can be asked for its size, graphs, copies beside the computation, a compiler.

`imitation` is its twin on the processor, which takes the very same path with the same answers, so that all of it can be
run and tested where there is no GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bildwerk.engine.gpu.compile import Compiler
from bildwerk.engine.gpu.copies import CudaCopies, MakeCopies, PlainCopies
from bildwerk.engine.gpu.graph_backend import CudaGraphs, GraphBackend, RepeatedRuns
from bildwerk.engine.precision import Precision

FLOAT8_CAPABILITY = (8, 9)
"""Ada and Hopper are the first to multiply float8."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """`eight_bits` is the precision that is resorted to where bfloat16 does not fit."""

    device: torch.device
    free_bytes: Callable[[], int]
    graphs: Callable[[], GraphBackend]
    copies: MakeCopies
    compiler: Compiler
    eight_bits: Precision


def accelerator_of(device: torch.device) -> Accelerator | None:
    """None for devices that have none of this."""
    if device.type != "cuda":
        return None
    multiplies_float8 = torch.cuda.get_device_capability(device) >= FLOAT8_CAPABILITY
    return Accelerator(
        device,
        lambda: torch.cuda.mem_get_info(device)[0],
        lambda: CudaGraphs(device),
        CudaCopies,
        Compiler(),
        Precision.FP8 if multiplies_float8 else Precision.INT8,
    )


def imitation(
    free_bytes: int,
    graphs: Callable[[], GraphBackend] = RepeatedRuns,
    copies: MakeCopies = PlainCopies,
    eight_bits: Precision = Precision.FP8,
) -> Accelerator:
    """The processor as if it were a GPU with so much memory; blocks are traced in one piece, and run as traced."""
    return Accelerator(torch.device("cpu"), lambda: free_bytes, graphs, copies, Compiler(backend="eager"), eight_bits)
