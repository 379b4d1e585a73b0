"""What torch can compute on and in: found by the names that people type, or listed.

`python -m bildwerk.engine.devices` prints the list as a line of JSON, for those who must not import torch.
"""

import json

import torch

from bildwerk.engine.request import EngineError

GIB = 2**30
DEVICE_TYPES = ("cpu", "cuda", "mps")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def find_device(name: str | None) -> torch.device:
    """The named device, such as cuda:1, or the best there is. Raises `EngineError` for one that is not there."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"there is no device {name!r} here: {str(error).splitlines()[0]}") from error
    if device.type not in DEVICE_TYPES:
        raise EngineError(f"device {name!r} is not one of {', '.join(DEVICE_TYPES)}")
    return device


def find_dtype(name: str) -> torch.dtype:
    """float16 is not among them: T5 and parts of FLUX overflow in it."""
    if name not in DTYPES:
        raise EngineError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    return DTYPES[name]


def devices() -> list[dict[str, object]]:
    """The processor, and every GPU with its memory."""
    found: list[dict[str, object]] = [{"name": "cpu", "threads": torch.get_num_threads()}]
    if torch.cuda.is_available():
        found += [_gpu(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append({"name": "mps"})
    return found


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
