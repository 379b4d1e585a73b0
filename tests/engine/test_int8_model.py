"""A model whose transformer is a file in eight bits paints the picture that it paints in sixteen."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bildwerk.engine.cpu.features import cpu_features
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.request import EngineSpec, GeneratedImage, GenerateRequest
from bildwerk.weights.quantize import quantize
from tests.parity.tiny_pipeline import TEXT_TOKENS
from tests.weights import published
from tests.weights.published import save_tokenizers, write

PROMPT = "the cat and a dog"
LEVELS = 4.0
"""Of 255 by which two pictures differ on average, where others than the seed's differ by tens."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {name: tmp_path_factory.mktemp(name) for name in ("plain", "int8")}
    with torch.no_grad():
        states = published.model().states()
        for name, folder in found.items():
            save_tokenizers(folder)
            for part, file in (("vae", "ae"), ("clip", "clip_l"), ("t5", "t5xxl")):
                write(folder / f"{file}.safetensors", states[part])
            if name == "plain":
                write(folder / "flux.safetensors", states["transformer"])
        list(quantize(found["plain"], found["int8"] / "flux-int8.safetensors"))
    return found


def painted(folder: Path, seed: int = 11, **chosen: object) -> np.ndarray:
    spec = EngineSpec(
        "toy", folder, max_text_tokens=TEXT_TOKENS, size_multiple=8, min_side=8, max_side=256,
        max_native_pixels=64 * 64, dtype="bfloat16",
    )  # fmt: skip
    engine = FluxEngine.load(spec, device="cpu", **chosen)
    request = GenerateRequest(PROMPT, width=32, height=24, steps=2, seed=seed, id="one")
    [picture] = [event for event in engine.generate([request]) if isinstance(event, GeneratedImage)]
    return np.asarray(Image.open(BytesIO(picture.data))).astype(int)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(abs(one - other).mean())


@pytest.mark.parametrize("chosen", [{"precision": "int8"}, {}, {"eager": True}], ids=["int8", "bf16", "eager"])
def test_it_paints_the_same_picture(folders: dict[str, Path], chosen: dict[str, object]) -> None:
    if chosen.get("precision") == "int8" and not cpu_features().multiplies_int8:
        pytest.skip("this processor multiplies no 8-bit integers")
    expected = painted(folders["plain"], eager=True)
    assert difference(painted(folders["int8"], **chosen), expected) <= LEVELS
    assert difference(painted(folders["plain"], seed=12, eager=True), expected) >= 3 * LEVELS
