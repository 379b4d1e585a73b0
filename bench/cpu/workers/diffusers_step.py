"""One step, or one decoding, by diffusers, on the same weights.

Ways: bf16, compiled, frozen; decoder, decoder channels_last, decoder float32.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.cpu.conversation import Answer, converse
from bench.cpu.material import TIME
from bench.cpu.workers.step import Task, keep, timed, torch_facts
from bench.gpu.peer import attention_of, autoencoder_like, transformer_like
from bildwerk.flux.sampling import position_ids

FAST_LAYOUT, EXACT = "channels_last", "float32"


def main() -> None:
    task = Task.of_command_line()
    made: list[Callable[[], Tensor]] = []

    def prepare() -> tuple[dict[str, object], Callable[[], Answer]]:
        version = importlib.import_module("diffusers").__version__
        facts, run = (_decoder if task.way.startswith("decoder") else _stepper)(task)
        made.append(run)
        return torch_facts() | {"diffusers": version} | facts, lambda: timed(run)

    converse(prepare, lambda path: keep(made[0](), path))


def _stepper(task: Task) -> tuple[dict[str, object], Callable[[], Tensor]]:
    shapes, inputs = task.material.scale.shapes, task.material.inputs(task.side)
    model: Any = transformer_like(task.material.transformer(), shapes.transformer)
    latent = task.side // shapes.autoencoder.downscale
    text_ids, image_ids = position_ids(shapes.text_tokens, latent, latent).split(
        [shapes.text_tokens, task.material.scale.image_tokens(task.side)]
    )
    attention = attention_of(model)
    run_model = _compiled(model, task.way)

    def step() -> Tensor:
        velocity: Tensor = run_model(
            hidden_states=inputs["img"],
            encoder_hidden_states=inputs["txt"],
            pooled_projections=inputs["pooled"],
            timestep=torch.tensor([TIME]),
            img_ids=image_ids,
            txt_ids=text_ids,
            return_dict=False,
        )[0]
        return velocity

    return {"attention": attention, "text tokens": shapes.text_tokens}, step


def _compiled(model: nn.Module, way: str) -> Any:
    if way == "bf16":
        return model
    if way == "frozen":
        importlib.import_module("torch._inductor.config").freezing = True
    return torch.compile(model, fullgraph=True)


def _decoder(task: Task) -> tuple[dict[str, object], Callable[[], Tensor]]:
    params = task.material.scale.shapes.autoencoder
    latents = task.material.inputs(task.side)["latents"] / params.scale_factor + params.shift_factor
    model = autoencoder_like(task.material.autoencoder(), params)
    if EXACT in task.way:
        model, latents = model.float(), latents.float()
    if FAST_LAYOUT in task.way:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        latents = latents.contiguous(memory_format=torch.channels_last)
    decoder: Any = model.decoder
    return {"layout": FAST_LAYOUT if FAST_LAYOUT in task.way else "default"}, lambda: decoder(latents)


if __name__ == "__main__":
    main()
