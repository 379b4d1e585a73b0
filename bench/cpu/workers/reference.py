"""What the accuracy of all others is judged by: `python -m bench.cpu.workers.reference float32|"plain int8"|gutted`"""

import torch
from torch import Tensor, nn

from bench.cpu.conversation import Prepared, converse
from bench.cpu.workers.ours import Stepper
from bench.cpu.workers.step import Task, prepared
from bench.gpu.stages.parity import hand_on
from bildwerk.engine.precision import to_int8, token_linears

EXACT, PLAIN_INT8, GUTTED = "float32", "plain int8", "gutted"


class Rounded(nn.Module):
    """A linear layer of which weights and activations are rounded row by row, and multiplied in their own type."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = rounded(linear.weight), linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """x: ... K -> ... O."""
        return nn.functional.linear(rounded(x.flatten(0, -2)).unflatten(0, x.shape[:-1]), self.weight, self.bias)


def rounded(x: Tensor) -> Tensor:
    """x: R K, to 255 levels a row."""
    values, scales = to_int8(x)
    return (values.float() * scales).to(x.dtype)


def main() -> None:
    task = Task.of_command_line()
    with torch.inference_mode():
        converse(lambda: _prepare(task))


def _prepare(task: Task) -> Prepared:
    model, dtype = task.material.transformer(), torch.bfloat16
    if task.way == EXACT:
        model, dtype = model.float(), torch.float32
    elif task.way == PLAIN_INT8:
        for owner, name, linear in list(token_linears(model)):
            setattr(owner, name, Rounded(linear))
    elif task.way == GUTTED:
        hand_on(model)
    else:
        raise ValueError(f"{task.way} is none of {EXACT}, {PLAIN_INT8} and {GUTTED}")
    step = Stepper(model, task.material, task.side)
    return prepared({}, lambda: step(dtype))


if __name__ == "__main__":
    main()
