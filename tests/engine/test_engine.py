"""Requests in, pictures out: what the engine promises, on a toy model with random weights."""

from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from itertools import takewhile
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bildwerk.engine import images
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.request import (
    EngineError,
    EngineSpec,
    Event,
    GeneratedImage,
    GenerateRequest,
    OutOfMemoryError,
    Progress,
)
from tests.parity.tiny_pipeline import TEXT_TOKENS, tiny_pipeline

REQUEST = GenerateRequest("the cat and a dog", width=32, height=24, steps=4, seed=11, id="one")
SEED_TOLERANCE = 1
"""Levels of 255 by which a picture may differ when it is made in another batch."""


@pytest.fixture(scope="module")
def spec(random_model: Path) -> EngineSpec:
    return EngineSpec(
        "toy",
        random_model,
        max_text_tokens=TEXT_TOKENS,
        size_multiple=8,
        min_side=8,
        max_side=256,
        max_native_pixels=64 * 64,
        dtype="float32",
    )


@pytest.fixture(scope="module")
def engine(spec: EngineSpec) -> FluxEngine:
    return FluxEngine.load(spec, device="cpu")


def pictures(events: Iterable[Event]) -> list[GeneratedImage]:
    return [event for event in events if isinstance(event, GeneratedImage)]


def pixels(picture: GeneratedImage) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(picture.data))).astype(int)


def difference(one: GeneratedImage, other: GeneratedImage) -> int:
    return int(abs(pixels(one) - pixels(other)).max())


def test_every_picture_says_which_it_is(engine: FluxEngine) -> None:
    first, second = pictures(engine.generate([replace(REQUEST, num_images=2)]))
    assert (first.request_id, first.index, first.seed) == ("one", 0, 11)
    assert (second.request_id, second.index, second.seed) == ("one", 1, 12)
    assert pixels(first).shape == (24, 32, 3)
    assert pixels(first).std() > 5


def test_a_picture_is_the_same_alone_and_in_a_batch(engine: FluxEngine) -> None:
    [alone] = pictures(engine.generate([REQUEST]))
    other = replace(REQUEST, prompt="a dog", seed=99, id="two")
    many = pictures(engine.generate([other, replace(REQUEST, seed=10, num_images=3)]))
    assert [picture.seed for picture in many] == [99, 10, 11, 12]
    assert difference(alone, many[2]) <= SEED_TOLERANCE
    assert all(difference(alone, many[index]) > 20 for index in (0, 1, 3))


def test_the_prompt_decides_the_picture(engine: FluxEngine) -> None:
    [one], [other] = (pictures(engine.generate([replace(REQUEST, prompt=text)])) for text in ("the cat", "12 dogs"))
    assert difference(one, other) > 20


def test_it_paints_what_diffusers_paints(engine: FluxEngine) -> None:
    theirs = tiny_pipeline()(
        REQUEST.prompt,
        width=32,
        height=24,
        num_inference_steps=4,
        generator=torch.Generator("cpu").manual_seed(11),
        max_sequence_length=TEXT_TOKENS,
        output_type="np",
    ).images[0]
    [ours] = pictures(engine.generate([REQUEST]))
    difference = abs(pixels(ours) - np.round(theirs * 255))
    assert difference.max() <= 1
    assert difference.mean() < 0.1


@pytest.mark.parametrize("step", [1, 2, 4])
def test_a_request_cancelled_between_steps_is_dropped_and_the_others_are_what_they_would_have_been(
    engine: FluxEngine, step: int
) -> None:
    kept = replace(REQUEST, id="kept")
    [expected] = pictures(engine.generate([kept]))
    cancelled: set[str] = set()
    events = []
    for event in engine.generate([replace(REQUEST, id="dropped", seed=1), kept], cancelled.__contains__):
        events.append(event)
        if event == (Progress("denoise", step - 1, 4) if step > 1 else Progress("encode", 1, 1)):
            cancelled.add("dropped")
    [picture] = pictures(events)
    assert picture.request_id == "kept"
    assert difference(picture, expected) <= SEED_TOLERANCE
    assert [event.done for event in events if isinstance(event, Progress) and event.stage == "denoise"] == [1, 2, 3, 4]


def test_when_every_request_is_cancelled_nothing_more_is_computed(
    engine: FluxEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = engine.components.transformer.forward, []
    monkeypatch.setattr(engine.components.transformer, "forward", lambda *a: calls.append(1) or forward(*a))
    events = list(engine.generate([REQUEST], lambda _: True))
    assert events == [Progress("encode", 1, 1)]
    assert calls == []


def test_closing_the_iterator_drops_the_batch_and_the_engine_goes_on(
    engine: FluxEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = engine.components.transformer.forward, []
    monkeypatch.setattr(engine.components.transformer, "forward", lambda *a: calls.append(1) or forward(*a))
    running = engine.generate([REQUEST])
    list(takewhile(lambda event: event != Progress("denoise", 2, 4), running))
    running.close()
    assert len(calls) == 2
    assert len(pictures(engine.generate([REQUEST]))) == 1


def test_a_size_above_the_trained_ones_is_painted_smaller_and_scaled(engine: FluxEngine) -> None:
    [picture] = pictures(engine.generate([replace(REQUEST, width=200, height=100)]))
    assert (picture.width, picture.height) == (200, 100)
    assert pixels(picture).shape == (100, 200, 3)
    assert picture.warnings == ("size 200x100 is above what the model was trained for: painted at 80x40 and scaled up",)


def test_a_prompt_that_is_cut_leaves_a_warning_with_its_own_picture_only(engine: FluxEngine) -> None:
    requests = [replace(REQUEST, prompt="cat and dog " * 20), replace(REQUEST, id="two")]
    long, short = pictures(engine.generate(requests))
    assert long.warnings == (f"the prompt is too long and its end was cut: toy reads {TEXT_TOKENS} tokens",)
    assert short.warnings == ()


@pytest.mark.parametrize("prompt", ["雪山 🏔 \x00\ud800", "'; DROP TABLE--", "a" * 10_000])
def test_any_text_makes_a_picture(engine: FluxEngine, prompt: str) -> None:
    [picture] = pictures(engine.generate([replace(REQUEST, prompt=prompt)]))
    assert pixels(picture).shape == (24, 32, 3)


def test_files_carry_their_parameters_unless_that_is_switched_off(engine: FluxEngine) -> None:
    [picture] = pictures(engine.generate([REQUEST]))
    text = images.read_parameters(Image.open(BytesIO(picture.data)))
    assert text is not None
    assert text.startswith("the cat and a dog\nSteps: 4, Seed: 11, Size: 32x24, Model: toy, ")
    [silent] = pictures(engine.generate([replace(REQUEST, embed_parameters=False)]))
    assert images.read_parameters(Image.open(BytesIO(silent.data))) is None


def test_a_prompt_that_was_seen_is_not_encoded_again(spec: EngineSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FluxEngine.load(spec, device="cpu")
    encode, rows = engine.components.t5.forward, []
    monkeypatch.setattr(engine.components.t5, "forward", lambda ids: rows.append(len(ids)) or encode(ids))
    list(engine.generate([replace(REQUEST, num_images=3)]))
    list(engine.generate([REQUEST]))
    list(engine.generate([REQUEST, replace(REQUEST, prompt="a dog")]))
    assert rows == [1, 1]


def test_only_the_latest_prompts_are_remembered(spec: EngineSpec) -> None:
    encoder = FluxEngine.load(spec, device="cpu").prompt_encoder
    encoder._remembered = 2
    first = encoder.encode(["a", "b"])
    encoder.encode(["a", "c"])
    assert list(encoder._known) == ["a", "c"]
    assert torch.equal(encoder.encode(["b", "a", "c"]).txt[:2], first.txt.flip(0))
    assert list(encoder._known) == ["a", "c"]


def test_bfloat16_paints_nearly_the_same(engine: FluxEngine, spec: EngineSpec) -> None:
    coarse = FluxEngine.load(spec, device="cpu", dtype="bfloat16")
    [one], [other] = (pictures(each.generate([REQUEST])) for each in (engine, coarse))
    assert abs(pixels(one) - pixels(other)).mean() < 4


def test_requests_of_different_batch_keys_are_refused(engine: FluxEngine) -> None:
    with pytest.raises(ValueError, match="one batch key, not of 2"):
        list(engine.generate([REQUEST, replace(REQUEST, steps=2)]))


def test_a_folder_that_is_not_there_is_an_engine_error(spec: EngineSpec, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"^toy cannot be loaded: .*text_encoder/config\.json"):
        FluxEngine.load(replace(spec, folder=tmp_path), device="cpu")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"device": "cuda:77"}, "there is no device 'cuda:77' here"),
        ({"device": ""}, "device '' is not one of cpu, mps, cuda, or a numbered one such as cuda:0"),
        ({"dtype": ""}, "dtype '' is not one of float32, bfloat16"),
        ({"device": "cpu", "dtype": "float16"}, "dtype 'float16' is not one of float32, bfloat16"),
    ],
)
def test_a_device_or_dtype_that_is_not_there_is_named(spec: EngineSpec, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(EngineError, match=sentence):
        FluxEngine.load(spec, **options)


def test_numbers_that_are_no_picture_are_an_error(engine: FluxEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder = engine.components.autoencoder
    decode = autoencoder.decode
    monkeypatch.setattr(
        autoencoder, "decode", lambda latents: decode(latents).index_fill(3, torch.tensor([5]), torch.nan)
    )
    with pytest.raises(
        EngineError, match=r"^toy computed NaN or infinity instead of a picture for seed 11 in float32: "
    ):
        list(engine.generate([REQUEST]))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("could not create a primitive"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
@pytest.mark.parametrize("part", ["t5", "transformer", "autoencoder.decoder"])
def test_a_lack_of_memory_is_an_error_that_names_size_and_device(
    engine: FluxEngine, monkeypatch: pytest.MonkeyPatch, part: str, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(attrgetter(part)(engine.components), "forward", fail)
    request = replace(REQUEST, num_images=2, prompt=f"never encoded: {part} {error!r}")
    with pytest.raises(OutOfMemoryError, match=r"^cpu has too little memory for 2 pictures of 32x24: ") as caught:
        list(engine.generate([request]))
    assert isinstance(caught.value, MemoryError)
    assert isinstance(caught.value, EngineError)


def test_a_lack_of_memory_at_load_names_the_model_and_the_device(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("bildwerk.weights.read_safetensors.TensorFiles.load", fail)
    with pytest.raises(
        OutOfMemoryError, match=r"^cpu has too little memory for the weights of toy in float32: CUDA out"
    ):
        FluxEngine.load(spec, device="cpu")


def test_other_errors_are_not_taken_for_a_lack_of_memory(engine: FluxEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(engine.components.transformer, "forward", fail)
    with pytest.raises(RuntimeError, match=r"^CUDA error: an illegal memory access"):
        list(engine.generate([REQUEST]))
