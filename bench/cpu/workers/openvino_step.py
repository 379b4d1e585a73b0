"""One step by OpenVINO, of diffusers' transformer converted: `python -m bench.cpu.workers.openvino_step bf16|int8 ...`

int8 is nncf's symmetric compression of the weights, with OpenVINO's own quantization of activations while it runs.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.cpu.conversation import Prepared, converse
from bench.cpu.material import TIME
from bench.cpu.workers.step import Task, prepared
from bench.gpu.peer import transformer_like
from bildwerk.flux.sampling import position_ids

GROUP = 128
"""Activations that share a scale."""


class Positional(nn.Module):
    """diffusers' transformer for one side, by three inputs that have no names."""

    def __init__(self, model: nn.Module, text_ids: Tensor, image_ids: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("text_ids", text_ids)
        self.register_buffer("image_ids", image_ids)

    def forward(self, img: Tensor, txt: Tensor, pooled: Tensor, time: Tensor) -> Tensor:
        velocity: Tensor = self.model(
            hidden_states=img,
            encoder_hidden_states=txt,
            pooled_projections=pooled,
            timestep=time,
            img_ids=self.image_ids,
            txt_ids=self.text_ids,
            return_dict=False,
        )[0]
        return velocity


def main() -> None:
    task = Task.of_command_line()
    converse(lambda: _prepare(task))


def _prepare(task: Task) -> Prepared:
    openvino: Any = importlib.import_module("openvino")
    inputs = task.material.inputs(task.side)
    examples = (*(inputs[name].float() for name in ("img", "txt", "pooled")), torch.tensor([TIME]))
    path = _model(openvino, task, examples)
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": task.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP if task.way == "int8" else 0,
    }
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    arrays = [example.numpy() for example in examples]

    def step() -> Tensor:
        return torch.from_numpy(request.infer(arrays)[0].copy())

    facts = {"openvino": openvino.__version__, "attention": "its own", "threads of it": task.threads}
    return prepared(facts, step)


def _model(openvino: Any, task: Task, examples: tuple[Tensor, ...]) -> Path:
    """The file of the converted model, made at the first call."""
    plain = task.material.files.openvino(task.side, "bf16")
    _once(plain, lambda: _convert(openvino, task, examples), openvino)
    if task.way == "bf16":
        return plain
    nncf: Any = importlib.import_module("nncf")
    smaller = task.material.files.openvino(task.side, "int8")
    _once(smaller, lambda: _compress(nncf, openvino.Core().read_model(plain)), openvino)
    return smaller


def _convert(openvino: Any, task: Task, examples: tuple[Tensor, ...]) -> Any:
    shapes = task.material.scale.shapes
    latent = task.side // shapes.autoencoder.downscale
    ids = position_ids(shapes.text_tokens, latent, latent)
    text_ids, image_ids = ids[: shapes.text_tokens], ids[shapes.text_tokens :]
    theirs = transformer_like(task.material.transformer(), shapes.transformer).float()
    model = Positional(theirs, text_ids, image_ids)
    return openvino.convert_model(model, example_input=examples, input=[list(example.shape) for example in examples])


def _compress(nncf: Any, model: Any) -> Any:
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)


def _once(path: Path, make: Callable[[], Any], openvino: Any) -> None:
    """The weights lie beside it and are complete before it has its name."""
    if not path.exists():
        scratch = path.with_name(f"part-{path.name}")
        openvino.save_model(make(), scratch, compress_to_fp16=True)
        scratch.with_suffix(".bin").replace(path.with_suffix(".bin"))
        scratch.replace(path)


if __name__ == "__main__":
    main()
