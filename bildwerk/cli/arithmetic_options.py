"""`--device`, `--dtype`, `--precision` and `--placement` as people type them, checked before anything is loaded.

Whether this machine has the device is for the engine to say.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from bildwerk.cli.failure import UsageError

DEVICE_NAME = re.compile(r"cpu|mps|cuda(:(0|[1-9][0-9]?))?")
DTYPES = {"float32": "float32", "fp32": "float32", "bfloat16": "bfloat16", "bf16": "bfloat16"}
"""The engine's name by what people call it."""
HALVES = ("float16", "fp16", "half")


def read_device(_: Any, tokens: Sequence[Any]) -> str:
    """Raises `UsageError` that names the devices there can be."""
    name = str(tokens[0].value)
    if not DEVICE_NAME.fullmatch(name):
        raise UsageError(f"--device must be cpu, mps, cuda or a numbered one such as cuda:0, not {name[:60]!r}")
    return name


def read_dtype(_: Any, tokens: Sequence[Any]) -> str:
    """The engine's name for it. Raises `UsageError` that names those there are."""
    name = str(tokens[0].value)
    if name in HALVES:
        raise UsageError(
            f"--dtype {name} cannot be used: FLUX and T5 have values that it does not hold; bf16 takes as little room"
        )
    if name not in DTYPES:
        raise UsageError(f"--dtype must be float32 (or fp32) or bfloat16 (or bf16), not {name[:60]!r}")
    return DTYPES[name]


Device = Annotated[str | None, Parameter(converter=read_device, n_tokens=1)]
Dtype = Annotated[str | None, Parameter(converter=read_dtype, n_tokens=1)]
Precision = Literal["bf16", "int8", "fp8", "int4"]
Placement = Literal["resident", "text-streamed", "modulation-streamed", "all-streamed"]
