"""A model whose transformer is a file in eight bits paints the picture that it paints in sixteen."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bildwerk.engine import arithmetic
from bildwerk.engine.arithmetic import holds_int8
from bildwerk.engine.cpu.features import CpuFeatures, cpu_features
from bildwerk.engine.cpu.linears import Int8Linear
from bildwerk.engine.cpu.path import packed_layer
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.precision import Precision
from bildwerk.engine.request import EngineSpec, GeneratedImage, GenerateRequest
from bildwerk.weights.load import load_components
from bildwerk.weights.quantize import quantize
from bildwerk.weights.quantized_linear import QuantizedLinear
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


def loaded(folder: Path, **chosen: object) -> FluxEngine:
    spec = EngineSpec(
        "toy", folder, max_text_tokens=TEXT_TOKENS, size_multiple=8, min_side=8, max_side=256,
        max_native_pixels=64 * 64, dtype="bfloat16",
    )  # fmt: skip
    return FluxEngine.load(spec, device="cpu", **chosen)


def painted(folder: Path, seed: int = 11, **chosen: object) -> np.ndarray:
    engine = loaded(folder, **chosen)
    request = GenerateRequest(PROMPT, width=32, height=24, steps=2, seed=seed, id="one")
    [picture] = [event for event in engine.generate([request]) if isinstance(event, GeneratedImage)]
    return np.asarray(Image.open(BytesIO(picture.data))).astype(int)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(abs(one - other).mean())


@pytest.mark.parametrize("chosen", [{"precision": "int8"}, {"precision": "bf16"}, {"eager": True}], ids=str)
def test_it_paints_the_same_picture(folders: dict[str, Path], chosen: dict[str, object]) -> None:
    if chosen.get("precision") == "int8" and not cpu_features().multiplies_int8:
        pytest.skip("this processor multiplies no 8-bit integers")
    expected = painted(folders["plain"], eager=True)
    assert difference(painted(folders["int8"], **chosen), expected) <= LEVELS
    assert difference(painted(folders["plain"], seed=12, eager=True), expected) >= 3 * LEVELS


def made_of(engine: FluxEngine) -> type:
    return type(engine.components.transformer.get_submodule("single_blocks.0.linear1"))


def test_who_asks_for_nothing_gets_the_precision_of_the_file(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    if not cpu_features().multiplies_int8:
        pytest.skip("this processor multiplies no 8-bit integers")
    followed = loaded(folders["int8"])
    assert (followed.precision, made_of(followed)) == (Precision.INT8, Int8Linear)
    assert "file is in eight bits, so precision int8 is taken" in caplog.text
    caplog.clear()
    plain = loaded(folders["plain"])
    assert (plain.precision, made_of(plain)) == (Precision.BF16, packed_layer(Precision.BF16, cpu_features()))
    asked = loaded(folders["int8"], precision="bf16")
    assert (asked.precision, made_of(asked)) == (Precision.BF16, QuantizedLinear)
    as_written = loaded(folders["int8"], eager=True)
    assert (as_written.precision, made_of(as_written)) == (None, QuantizedLinear)
    assert not caplog.text


def test_a_processor_that_multiplies_no_integers_unpacks_them(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "cpu_features", lambda: CpuFeatures(True, False, None))
    assert loaded(folders["int8"]).precision is Precision.BF16


def test_a_file_of_which_only_some_is_int8_is_not_rounded_further(folders: dict[str, Path]) -> None:
    transformer = load_components(folders["int8"], torch.bfloat16).transformer
    assert holds_int8(transformer)
    transformer.single_blocks[0].linear1 = torch.nn.Linear(8, 8)
    assert not holds_int8(transformer)
