"""Graphs on the processor that forget what graphs of a GPU forget: of the Python code nothing is left at a replay.

What a GPU would launch is written down once, operation by operation, with the very tensors; a replay computes these
operations again into the same memory.  What may not happen while a GPU records, such as asking for a value or sending
a constant, is refused.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from bildwerk.engine.gpu.compile import uncompiled
from bildwerk.engine.gpu.graph_backend import Recording

REFUSED = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::lift_fresh",
    "aten::lift_fresh_copy",
    "aten::is_nonzero",
}
Line = tuple[Any, tuple[Any, ...], dict[str, Any], Any]


class Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().partition(".")[0] in REFUSED:
            raise RuntimeError(f"{func} is not permitted while a GPU records")
        result = func(*args, **(kwargs or {}))
        self.lines.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, result in self.lines:
            again = func(*args, **kwargs)
            for old, new in zip(tree_flatten(result)[0], tree_flatten(again)[0], strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class TapedRuns:
    """A `GraphBackend`."""

    def record(self, run: Callable[[], Tensor]) -> Recording:
        tape = Tape()
        with torch.inference_mode(mode=False), torch.no_grad(), uncompiled(), tape:
            output = run()
        return Recording(tape.replay, output)
