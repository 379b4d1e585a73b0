"""What a model is loaded to compute in, and what that does to the pictures of the model that comes along."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bildwerk
from bildwerk.cli.model_files import engine_spec, named_model
from bildwerk.engine.arithmetic import Arithmetic, find_arithmetic
from bildwerk.engine.cpu.linears import PackedLinear
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.precision import Precision
from bildwerk.engine.request import EngineError, EngineSpec, GeneratedImage, GenerateRequest

FOLDER = Path(bildwerk.__file__).parent / "models" / "flux-tiny"
PROMPTS = ("mountains behind a lake at sunset", "a cabin on a meadow at night", "trees under clouds at noon")
LEAST_PSNR = {"bf16": 40.0, "int8": 30.0}


@pytest.fixture(scope="module")
def tiny() -> EngineSpec:
    return engine_spec(named_model("flux-tiny"), FOLDER)


def _pictures(engine: FluxEngine) -> list[np.ndarray]:
    requests = [GenerateRequest(prompt, 256, 256, steps=4, seed=seed) for seed, prompt in enumerate(PROMPTS)]
    events = [event for request in requests for event in engine.generate([request])]
    made = [event for event in events if isinstance(event, GeneratedImage)]
    return [np.asarray(Image.open(io.BytesIO(event.data)), dtype=float) for event in made]


def _psnr(given: np.ndarray, expected: np.ndarray) -> float:
    return 20 * math.log10(255) - 10 * math.log10(((given - expected) ** 2).mean())


@pytest.fixture(scope="module")
def exact(tiny: EngineSpec) -> list[np.ndarray]:
    return _pictures(FluxEngine.load(tiny, "cpu"))


@pytest.mark.parametrize("precision", list(LEAST_PSNR))
def test_the_pictures_stay_the_same_to_the_eye(tiny: EngineSpec, exact: list[np.ndarray], precision: str) -> None:
    fast = FluxEngine.load(tiny, "cpu", precision=precision)
    assert isinstance(fast.components.transformer.get_submodule("single_blocks.0.linear1"), PackedLinear)
    for given, expected in zip(_pictures(fast), exact, strict=True):
        assert LEAST_PSNR[precision] <= _psnr(given, expected) < 80


def test_eager_leaves_the_networks_as_written(tiny: EngineSpec) -> None:
    plain = FluxEngine.load(tiny, "cpu", dtype="bfloat16", eager=True)
    layers = [module for module in plain.components.transformer.modules() if isinstance(module, PackedLinear)]
    assert not layers
    assert not any("forward" in vars(module) for module in plain.components.transformer.modules())


@pytest.mark.parametrize(
    ("spec_precision", "dtype", "precision", "chosen"),
    [
        (None, None, None, Arithmetic(torch.float32, None)),
        (None, "bfloat16", None, Arithmetic(torch.bfloat16, Precision.BF16)),
        (None, None, "int8", Arithmetic(torch.bfloat16, Precision.INT8, True)),
        ("int8", None, None, Arithmetic(torch.bfloat16, Precision.INT8, True)),
        ("int8", None, "bf16", Arithmetic(torch.bfloat16, Precision.BF16, True)),
    ],
)
def test_what_is_asked_for_goes_before_what_the_model_says(
    tiny: EngineSpec, spec_precision: str | None, dtype: str | None, precision: str | None, chosen: Arithmetic
) -> None:
    spec = replace(tiny, precision=spec_precision)
    assert find_arithmetic(spec, dtype, precision) == chosen


@pytest.mark.parametrize(
    ("dtype", "precision", "message"),
    [
        (None, "int3", "precision 'int3' is not one of bf16, fp8, int8, int4"),
        ("float32", "int8", "precision int8 goes with dtype bfloat16, not with float32"),
        (None, "fp8", "precision fp8 cannot be had on this CPU"),
    ],
)
def test_what_cannot_be_is_said(tiny: EngineSpec, dtype: str | None, precision: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        FluxEngine.load(tiny, "cpu", dtype, precision)
