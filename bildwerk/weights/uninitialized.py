"""Modules built without initial weights, because a file's weights will be assigned to them at once."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch.overrides import TorchFunctionMode

INIT_MODULE = "torch.nn.init"


class Uninitialized(TorchFunctionMode):
    """While this is entered, the functions of `torch.nn.init` return their tensor as it is.

    On `meta` there is nothing to fill, yet torch would load its compiler, two seconds of imports, to draw the numbers.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if getattr(func, "__module__", None) == INIT_MODULE:
            return args[0] if args else named["tensor"]
        return func(*args, **named)
