"""`python -m bildwerk.engine.devices`: what torch can compute on, as a line of JSON."""

import json

import torch

GIB = 2**30


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
