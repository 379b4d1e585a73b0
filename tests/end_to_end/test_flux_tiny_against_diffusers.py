"""The embedded model paints in our engine the picture that diffusers paints from the same files and noise."""

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image

from bildwerk.checkpoints.integrity import problems
from bildwerk.checkpoints.location import folder_of
from bildwerk.cli.model_files import engine_spec
from bildwerk.domain.catalog import load_catalog
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.request import GeneratedImage, GenerateRequest

MODEL = load_catalog()["bildwerk/flux-tiny"]
FOLDER = folder_of(MODEL, Path("unused"))
MIN_PSNR = 50.0
PROMPTS = ["A beautiful landscape with mountains and lake", "a snowy night with stars, pines and a cabin"]


@pytest.fixture(scope="module")
def engine() -> FluxEngine:
    return FluxEngine.load(engine_spec(MODEL, FOLDER), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def pipeline() -> FluxPipeline:
    pipeline = FluxPipeline.from_pretrained(FOLDER, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def ours(engine: FluxEngine, prompt: str, width: int, height: int, seed: int) -> np.ndarray:
    request = GenerateRequest(prompt, width, height, steps=4, seed=seed)
    [picture] = [event for event in engine.generate([request]) if isinstance(event, GeneratedImage)]
    assert picture.warnings == ()
    return np.asarray(Image.open(BytesIO(picture.data))).astype(np.float64)


def theirs(pipeline: FluxPipeline, prompt: str, width: int, height: int, seed: int) -> np.ndarray:
    picture = pipeline(
        prompt,
        width=width,
        height=height,
        num_inference_steps=4,
        guidance_scale=0.0,
        max_sequence_length=MODEL.engine.max_text_tokens,
        generator=torch.Generator("cpu").manual_seed(seed),
    ).images[0]
    return np.asarray(picture).astype(np.float64)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """In decibels, of 8-bit pictures."""
    error = np.mean((one - other) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def test_its_files_are_whole() -> None:
    assert problems(FOLDER) == []


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(("width", "height"), [(256, 256), (224, 288)])
def test_both_paint_the_same_picture(
    engine: FluxEngine, pipeline: FluxPipeline, prompt: str, width: int, height: int
) -> None:
    painted = ours(engine, prompt, width, height, seed=42)
    assert painted.std() > 10
    assert psnr(painted, theirs(pipeline, prompt, width, height, seed=42)) >= MIN_PSNR


def test_another_seed_or_prompt_is_another_picture(engine: FluxEngine) -> None:
    """Without this the comparison above could pass on a model that always paints the same."""
    first = ours(engine, PROMPTS[0], 256, 256, seed=42)
    assert psnr(first, ours(engine, PROMPTS[0], 256, 256, seed=43)) < MIN_PSNR / 2
    assert psnr(first, ours(engine, PROMPTS[1], 256, 256, seed=42)) < MIN_PSNR / 2
