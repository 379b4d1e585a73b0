"""What a processor multiplies fast: found by what torch says of it, and by whether the kernels can be compiled."""

from dataclasses import dataclass
from functools import cache

import torch

from bildwerk.engine.cpu.build import KernelsUnavailableError
from bildwerk.engine.cpu.kernels import Kernels


@dataclass(frozen=True, slots=True)
class CpuFeatures:
    """`kernels`: those for what stands between matrix products; None where `no_kernels_because` says why."""

    multiplies_bfloat16: bool
    multiplies_int8: bool
    kernels: Kernels | None
    no_kernels_because: str = ""


@cache
def cpu_features() -> CpuFeatures:
    """Compiles the kernels, if that was never done on this machine."""
    has_tiles = torch.cpu._is_amx_tile_supported()
    bfloat16 = torch.cpu._is_avx512_bf16_supported() or has_tiles
    int8 = torch.cpu._is_vnni_supported() or has_tiles
    try:
        return CpuFeatures(bfloat16, int8, Kernels.load())
    except KernelsUnavailableError as error:
        return CpuFeatures(bfloat16, int8, None, str(error))
