"""Muon: momentum whose every matrix is made orthogonal before it is applied, so no direction of a layer learns slowly.

Source: Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), and the scaling of
Moonshot AI's "Muon is scalable for LLM training" (2025). Convolutions count as matrices of shape (out, in * h * w).
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

COEFFICIENTS = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
)


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest semi-orthogonal matrix, by Newton-Schulz iterations in bfloat16."""
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() * 1.01 + 1e-7)
    for a, b, c in COEFFICIENTS:
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Muon(Optimizer):
    """Nesterov momentum, orthogonalized; the step has the size that AdamW's would have, so rates carry over."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.step_one(parameter, parameter.grad, group)

    def step_one(self, parameter: Tensor, gradient: Tensor, group: dict[str, float]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"]).flatten(1)
        size = 0.2 * max(ahead.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(orthogonal(ahead).view_as(parameter), alpha=-group["lr"] * size)


def is_hidden_matrix(name: str, parameter: Tensor, outside: tuple[str, ...]) -> bool:
    return parameter.ndim >= 2 and not any(part in name for part in outside)


def optimizers(module: nn.Module, outside: tuple[str, ...], weight_decay: float) -> tuple[Muon, AdamW]:
    """Muon for the hidden matrices; AdamW for vectors, and for the first and last layers and tables named `outside`."""
    named = list(module.named_parameters())
    hidden = [p for name, p in named if is_hidden_matrix(name, p, outside)]
    rest = [p for name, p in named if not is_hidden_matrix(name, p, outside)]
    return Muon(hidden, 1e-3, weight_decay=weight_decay), AdamW(
        rest, 1e-3, betas=(0.9, 0.99), weight_decay=weight_decay
    )
