"""Where and in what to compute: names that people type become torch's own objects, or a sentence."""

import torch

from bildwerk.engine.request import EngineError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def find_device(name: str | None) -> torch.device:
    """The named device, or the best there is. Raises `EngineError` for one that this machine does not have."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"there is no device {name!r} here: {str(error).splitlines()[0]}") from error
    return device


def find_dtype(name: str) -> torch.dtype:
    """float16 is not among them: T5 and parts of FLUX overflow in it."""
    if name not in DTYPES:
        raise EngineError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    return DTYPES[name]
