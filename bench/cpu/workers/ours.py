"""One step, or one decoding, by this repository: `python -m bench.cpu.workers.ours bf16|int8|eager|decoder ...`

S steps, L image tokens, T text tokens.
"""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from bench.cpu.conversation import Answer, converse
from bench.cpu.material import TIME, Material
from bench.cpu.workers.step import Task, keep, timed, torch_facts
from bench.gpu.painter import STEPS
from bildwerk.engine.compile import Bucket
from bildwerk.engine.fast_path import accelerate, best_speed
from bildwerk.engine.precision import Precision
from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.sampling import PATCH, position_ids
from bildwerk.flux.transformer import Flux

EAGER = "eager"


class Stepper:
    """A step of a picture of four: a quarter of their modulation, which is computed once a picture, and one forward."""

    def __init__(self, model: Flux, material: Material, side: int) -> None:
        inputs, scale = material.inputs(side), material.scale.shapes
        self.model = model
        self.img, self.txt, self.pooled = inputs["img"], inputs["txt"], inputs["pooled"]
        latent = side // scale.autoencoder.downscale
        self.rotary = rotary_embedding(position_ids(scale.text_tokens, latent, latent), scale.transformer)
        self.times = torch.tensor([[TIME - index / STEPS] for index in range(STEPS)])

    def __call__(self, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        """The velocity: 1 L 64."""
        modulation = self.model.modulation(self.times, self.pooled.to(dtype))[0]
        return self.model(self.img.to(dtype), self.txt.to(dtype), self.rotary, modulation)

    def timed(self) -> Answer:
        start = time.perf_counter()
        modulation = self.model.modulation(self.times, self.pooled)[0]
        middle = time.perf_counter()
        self.model(self.img, self.txt, self.rotary, modulation)
        forward = time.perf_counter() - middle
        return {"seconds": forward + (middle - start) / STEPS, "forward": forward, "modulation": middle - start}


def main() -> None:
    task = Task.of_command_line()
    made: list[Callable[[], Tensor]] = []

    def prepare() -> tuple[dict[str, object], Callable[[], Answer]]:
        facts, result, measure = (_decoder if task.way == "decoder" else _stepper)(task)
        made.append(result)
        return facts, measure

    with torch.inference_mode():
        converse(prepare, lambda path: keep(made[0](), path))


Prepared = tuple[dict[str, object], Callable[[], Tensor], Callable[[], Answer]]


def _stepper(task: Task) -> Prepared:
    networks = task.material.networks_to_step()
    facts = torch_facts()
    if task.way != EAGER:
        bucket = Bucket(1, task.side, task.side)
        speed = best_speed(networks, Precision(task.way), bucket, task.material.scale.shapes.text_tokens)
        accelerate(networks, speed)
        facts["attention"] = _name(speed.attend)
    else:
        facts["attention"] = "torch"
    step = Stepper(networks.transformer, task.material, task.side)
    return facts, step, step.timed


def _decoder(task: Task) -> Prepared:
    networks = task.material.networks_to_decode()
    bucket = Bucket(1, task.side, task.side)
    speed = best_speed(networks, Precision.BF16, bucket, task.material.scale.shapes.text_tokens)
    accelerate(networks, speed)
    latents = task.material.inputs(task.side)["latents"]

    def decode() -> Tensor:
        return networks.autoencoder.decode(latents)

    return torch_facts() | {"attention": _name(speed.attend_in_decoder)}, decode, lambda: timed(decode)


def _name(attend: object) -> str:
    return str(getattr(attend, "__name__", type(attend).__name__))


if __name__ == "__main__":
    main()
