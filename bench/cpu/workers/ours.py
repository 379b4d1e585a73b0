"""One step, or one decoding, by this repository: `python -m bench.cpu.workers.ours bf16|int8|eager|decoder ...`

S steps, L image tokens, T text tokens.
"""

import time

import torch
from torch import Tensor

from bench.cpu.conversation import AbsentError, Answer, Prepared, converse
from bench.cpu.material import TIME, Material
from bench.cpu.workers.step import Task, prepared
from bench.gpu.networks import Networks
from bench.gpu.painter import STEPS
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.cpu import blocks
from bildwerk.engine.cpu.kernels import Kernels
from bildwerk.engine.fast_path import Speed, accelerate, best_speed
from bildwerk.engine.precision import Precision
from bildwerk.engine.request import EngineError
from bildwerk.flux.attention import Attend, rotary_embedding
from bildwerk.flux.sampling import position_ids
from bildwerk.flux.transformer import Flux

EAGER = "eager"
MEASURED = round((1 - TIME) * STEPS)


class Stepper:
    """A step of a picture of four: a quarter of their modulation, which is computed once a picture, and one forward."""

    def __init__(self, model: Flux, material: Material, side: int) -> None:
        inputs, scale = material.inputs(side), material.scale.shapes
        self.model = model
        self.img, self.txt, self.pooled = inputs["img"], inputs["txt"], inputs["pooled"]
        latent = side // scale.autoencoder.downscale
        self.rotary = rotary_embedding(position_ids(scale.text_tokens, latent, latent), scale.transformer)
        self.times = torch.tensor([[1 - index / STEPS] for index in range(STEPS)])

    def __call__(self, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        """The velocity: 1 L 64."""
        modulation = self.model.modulation(self.times, self.pooled.to(dtype))[MEASURED]
        return self.model(self.img.to(dtype), self.txt.to(dtype), self.rotary, modulation)

    def timed(self) -> Answer:
        start = time.perf_counter()
        modulation = self.model.modulation(self.times, self.pooled)[MEASURED]
        middle = time.perf_counter()
        self.model(self.img, self.txt, self.rotary, modulation)
        forward = time.perf_counter() - middle
        return {
            "seconds": forward + (middle - start) / STEPS,
            "parts": {"forward": forward, "modulation of all steps": middle - start},
        }


def main() -> None:
    task = Task.of_command_line()
    with torch.inference_mode():
        converse(lambda: _prepare(task))


def _prepare(task: Task) -> Prepared:
    """Raises `AbsentError` for a precision that this processor lacks."""
    try:
        return _decoder(task) if task.way == "decoder" else _stepper(task)
    except EngineError as error:
        raise AbsentError(str(error)) from error


def _stepper(task: Task) -> Prepared:
    networks, facts = task.material.networks_to_step(), {"attention": "torch"}
    if task.way != EAGER:
        speed = _speed(networks, Precision(task.way), task)
        accelerate(networks, speed)
        suits = blocks.suits(networks.transformer.params)
        facts = _facts(speed, speed.attend, suits)
    step = Stepper(networks.transformer, task.material, task.side)
    return prepared(facts, step, step.timed)


def _decoder(task: Task) -> Prepared:
    networks = task.material.networks_to_decode()
    speed = _speed(networks, Precision.BF16, task)
    accelerate(networks, speed)
    latents = task.material.inputs(task.side)["latents"]
    facts = _facts(speed, speed.attend_in_decoder, suits=False)
    return prepared(facts, lambda: networks.autoencoder.decode(latents))


def _speed(networks: Networks, precision: Precision, task: Task) -> Speed:
    return best_speed(networks, precision, Bucket(1, task.side, task.side), task.material.scale.shapes.text_tokens)


def _facts(speed: Speed, attend: Attend, suits: bool) -> dict[str, object]:
    """What attends, and whether our kernels could be compiled; `suits` where they attend if they are there."""
    if speed.cpu is None:
        return {"attention": attend.__name__}
    if speed.cpu.kernels is None:
        return {"attention": attend.__name__, "kernels": speed.cpu.no_kernels_because}
    _show_to_profiler(speed.cpu.kernels)
    return {"attention": "our kernel" if suits else attend.__name__, "kernels": "compiled"}


def _show_to_profiler(kernels: Kernels) -> None:
    """Torch does not see what it does not call."""
    call = kernels._call

    def named(name: str, *arguments: object, **settings: bool) -> None:
        with torch.profiler.record_function(f"kernel {name}"):
            call(name, *arguments, **settings)

    kernels._call = named  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
