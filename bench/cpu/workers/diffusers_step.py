"""One step, or one decoding, by diffusers, on the same weights.

Ways: bf16, compiled, frozen; decoder, decoder channels_last, decoder float32.
"""

import importlib
from typing import Any

import torch
from torch import Tensor, nn

from bench.cpu.conversation import Prepared, converse
from bench.cpu.material import TIME
from bench.cpu.workers.step import Task, prepared
from bench.gpu.peer import attention_of, autoencoder_like, transformer_like
from bildwerk.flux.sampling import position_ids

FAST_LAYOUT, EXACT = "channels_last", "float32"


def main() -> None:
    task = Task.of_command_line()
    converse(lambda: _decoder(task) if task.way.startswith("decoder") else _stepper(task))


def _version() -> dict[str, object]:
    """Raises `ImportError` where it is not installed."""
    return {"diffusers": importlib.import_module("diffusers").__version__}


def _stepper(task: Task) -> Prepared:
    facts = _version()
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

    return prepared(facts | {"attention": attention, "text tokens": shapes.text_tokens}, step)


def _compiled(model: nn.Module, way: str) -> Any:
    if way == "bf16":
        return model
    if way == "frozen":
        importlib.import_module("torch._inductor.config").freezing = True
    return torch.compile(model, fullgraph=True)


def _decoder(task: Task) -> Prepared:
    facts, params = _version(), task.material.scale.shapes.autoencoder
    latents = task.material.inputs(task.side)["latents"] / params.scale_factor + params.shift_factor
    model = autoencoder_like(task.material.autoencoder(), params)
    if EXACT in task.way:
        model, latents = model.float(), latents.float()
    if FAST_LAYOUT in task.way:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        latents = latents.contiguous(memory_format=torch.channels_last)
    decoder: Any = model.decoder
    facts["layout"] = FAST_LAYOUT if FAST_LAYOUT in task.way else "default"
    return prepared(facts, lambda: decoder(latents))


if __name__ == "__main__":
    main()
