"""The many ways in which torch says that the memory is full become one error with a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bildwerk.engine.request import OutOfMemoryError

PHRASES = (
    "out of memory",
    "not enough memory",
    "DefaultCPUAllocator",
    "could not create a primitive",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What a bare `RuntimeError` says then: CUDA and MPS, the allocator of the CPU, oneDNN, and CUDA's libraries, which
make their handles at the first product."""


@contextmanager
def explained(purpose: str, device: torch.device) -> Iterator[None]:
    """Raises `OutOfMemoryError`, which names the purpose and the device, where this block runs out of memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        detail = str(error).partition("\n")[0]
        raise OutOfMemoryError(f"{device} has too little memory for {purpose}: {detail or 'it is full'}") from error


def is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in PHRASES)
