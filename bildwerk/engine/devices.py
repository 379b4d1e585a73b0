"""What torch can compute on and in: found by the names that people type, or listed.

`python -m bildwerk.engine.devices` prints the list as a line of JSON, for those who must not import torch.
"""

import json
import re

import torch

from bildwerk.engine.cpu.features import cpu_features
from bildwerk.engine.request import EngineError

GIB = 2**30
DEVICE_NAME = re.compile(r"cpu|mps|cuda(:(0|[1-9][0-9]?))?")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def find_device(name: str | None) -> torch.device:
    """The named device, such as cuda:1, or the best there is. Raises `EngineError` for one that is not there."""
    if name is None:
        return best_device()
    if not DEVICE_NAME.fullmatch(name):
        raise EngineError(f"device {name!r} is not one of cpu, mps, cuda, or a numbered one such as cuda:0")
    device = torch.device(name)
    check_present(device)
    try:
        torch.empty(0, device=device)
    except RuntimeError as error:
        raise EngineError(f"device {name!r} cannot be used: {str(error).partition(chr(10))[0]}") from error
    return device


def best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def check_present(device: torch.device) -> None:
    """Raises `EngineError` that says what torch sees instead."""
    cuda_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= cuda_devices:
        raise EngineError(f"there is no device '{device}' here: torch sees {cuda_devices} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise EngineError("there is no device 'mps' here: that is the GPU of a Mac")


def wait_for(device: torch.device) -> None:
    """A GPU runs behind; at a step boundary progress must be true and a cancelled request must cost no more."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def find_dtype(name: str) -> torch.dtype:
    """float16 is not among them: T5 and parts of FLUX overflow in it."""
    if name not in DTYPES:
        raise EngineError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    return DTYPES[name]


def devices() -> list[dict[str, object]]:
    """The processor, and every GPU with its memory."""
    found: list[dict[str, object]] = [_cpu()]
    if torch.cuda.is_available():
        found += [_gpu(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append({"name": "mps"})
    return found


def _cpu() -> dict[str, object]:
    features = cpu_features()
    fast = {"bf16": features.multiplies_bfloat16, "int8": features.multiplies_int8}
    return {
        "name": "cpu",
        "threads": torch.get_num_threads(),
        "fast_products": " and ".join(name for name, is_there in fast.items() if is_there) or "none",
        "kernels": "compiled" if features.kernels is not None else f"none: {features.no_kernels_because}",
    }


def _gpu(index: int) -> dict[str, object]:
    free, total = torch.cuda.mem_get_info(index)
    return {
        "name": f"cuda:{index}",
        "description": torch.cuda.get_device_name(index),
        "memory_gib": round(total / GIB, 1),
        "free_gib": round(free / GIB, 1),
    }


if __name__ == "__main__":
    print(json.dumps({"torch": torch.__version__, "cuda": torch.version.cuda, "devices": devices()}))  # noqa: T201
