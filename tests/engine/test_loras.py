"""Requests with LoRAs and requests without, one after the other on one model, each as if it were alone."""

import os
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from bildwerk.domain.catalog import load_catalog
from bildwerk.engine import images, precision
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.fake import FakeEngine
from bildwerk.engine.fast_path import Speed, accelerate
from bildwerk.engine.gpu.compile import Compiler
from bildwerk.engine.gpu.graph_backend import RepeatedRuns
from bildwerk.engine.gpu.recorder import Recorder
from bildwerk.engine.loras import LoraCache, adapted
from bildwerk.engine.precision import Precision
from bildwerk.engine.request import (
    Engine,
    EngineSpec,
    Event,
    GeneratedImage,
    GenerateRequest,
    LoraChoice,
    LoraError,
    Progress,
)
from bildwerk.weights.lora import applied, load_lora
from bildwerk.weights.lora_place import LoraPlace
from tests.engine.velocity import relative_error
from tests.lora_files import FLUX_TINY, NAMINGS, flux_tiny, merged, random_lora, random_matrices, write_lora
from tests.weights.published import velocity

PLAIN = GenerateRequest("a lake at dawn", 64, 64, steps=2, seed=5, id="one")
SOFT, NIGHT = LoraChoice("soft"), LoraChoice("night")
REQUESTS: dict[str, tuple[LoraChoice, ...]] = {
    "soft": (SOFT,),
    "none": (),
    "night": (NIGHT,),
    "both": (replace(SOFT, scale=0.5), replace(NIGHT, scale=-0.5)),
    "none again": (),
    "soft again": (SOFT,),
}


def make_spec(loras: Path) -> EngineSpec:
    spec = load_catalog()["bildwerk/flux-tiny"]
    return EngineSpec(id=spec.id, folder=FLUX_TINY, loras_folder=loras, **asdict(spec.engine))


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one LoRA of each naming. Tests that damage files have their own."""
    folder = tmp_path_factory.mktemp("loras")
    for seed, (name, naming) in enumerate([("soft", "original"), ("night", "kohya"), ("snow", "diffusers")]):
        random_lora(folder / f"{name}.safetensors", seed, naming)
    return folder


@pytest.fixture(scope="module")
def engine(loras: Path) -> FluxEngine:
    return FluxEngine.load(make_spec(loras), device="cpu")


def with_loras(*chosen: LoraChoice) -> GenerateRequest:
    return replace(PLAIN, loras=chosen)


def picture(events: Iterable[Event]) -> bytes:
    (found,) = [event.data for event in events if isinstance(event, GeneratedImage)]
    return found


def painted(engine: Engine, chosen: Sequence[LoraChoice]) -> bytes:
    return picture(engine.generate([with_loras(*chosen)]))


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data))).astype(int)


def difference(one: bytes, other: bytes) -> int:
    return int(np.abs(pixels(one) - pixels(other)).max())


@pytest.mark.parametrize("naming", NAMINGS)
def test_a_lora_of_each_naming_paints_what_the_merged_weights_paint(naming: str, tmp_path: Path) -> None:
    matrices = random_matrices(flux_tiny(), NAMINGS[naming], seed=3)
    write_lora(tmp_path / "new.safetensors", matrices, NAMINGS[naming])
    engine = FluxEngine.load(make_spec(tmp_path), device="cpu")
    adapted_picture, plain = painted(engine, [LoraChoice("new", 0.8)]), painted(engine, [])
    whole = merged(engine.components.transformer, NAMINGS[naming], [(matrices, 0.8)])
    engine.components = replace(engine.components, transformer=whole)
    assert difference(adapted_picture, painted(engine, [])) <= 1
    assert difference(adapted_picture, plain) > 20


def test_two_at_once_are_the_sum_that_merging_makes(tmp_path: Path) -> None:
    naming, model = NAMINGS["diffusers"], deepcopy(flux_tiny()).double()
    changes = [(random_matrices(model, naming, seed, size=0.1), weight) for seed, weight in ((1, 0.8), (2, -0.5))]
    paths = [write_lora(tmp_path / f"{i}.safetensors", parts, naming) for i, (parts, _) in enumerate(changes)]
    loras = [(load_lora(path, model, torch.float64), weight) for path, (_, weight) in zip(paths, changes, strict=True)]
    plain = velocity(model, torch.float64)
    with applied(model, loras):
        error = relative_error(velocity(model, torch.float64), velocity(merged(model, naming, changes), torch.float64))
    assert error <= 1e-6
    assert relative_error(velocity(model, torch.float64), plain) == 0
    for one in loras:
        with applied(model, [one]):
            assert relative_error(velocity(model, torch.float64), plain) > 0.01


def test_interleaved_requests_equal_their_single_runs_bit_for_bit(loras: Path, engine: FluxEngine) -> None:
    alone = {name: painted(FluxEngine.load(engine.spec, device="cpu"), chosen) for name, chosen in REQUESTS.items()}
    for _ in range(2):
        assert {name: painted(engine, chosen) for name, chosen in REQUESTS.items()} == alone
    assert len(set(alone.values())) == 4


def test_a_batch_that_stands_still_leaves_nothing_on_the_model(engine: FluxEngine) -> None:
    plain, soft = painted(engine, []), painted(engine, [SOFT])
    halted = engine.generate([with_loras(SOFT)])
    while next(halted) != Progress("denoise", 1, 2):
        pass
    assert painted(engine, []) == plain
    assert picture(halted) == soft
    abandoned = engine.generate([with_loras(NIGHT)])
    next(abandoned)
    next(abandoned)
    abandoned.close()
    assert painted(engine, []) == plain


def test_a_weight_of_zero_is_no_lora_at_all(engine: FluxEngine) -> None:
    assert painted(engine, [LoraChoice("soft", 0.0)]) == painted(engine, [])
    assert with_loras(LoraChoice("soft", 0.0)).batch_key == PLAIN.batch_key


def test_the_order_in_which_loras_are_named_is_of_no_account(engine: FluxEngine) -> None:
    one, other = (SOFT, NIGHT), (NIGHT, SOFT)
    assert painted(engine, one) == painted(engine, other)
    assert with_loras(*one).batch_key == with_loras(*other).batch_key


OTHERS = {
    "none": (),
    "another": (NIGHT,),
    "one more": (SOFT, NIGHT),
    "another weight": (LoraChoice("soft", 0.9),),
    "another version of the file": (LoraChoice("soft", version="1-1"),),
    "a file of the same name": (LoraChoice("soft", file="/elsewhere/soft.safetensors"),),
}


@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS.keys())
def test_what_has_not_the_very_same_loras_shares_no_batch(
    others: tuple[LoraChoice, ...], loras: Path, engine: FluxEngine
) -> None:
    for each in (engine, FakeEngine(make_spec(loras))):
        with pytest.raises(ValueError, match="one batch key"):
            list(each.generate([with_loras(SOFT), replace(with_loras(*others), id="two")]))


def test_requests_with_the_same_loras_share_one(engine: FluxEngine) -> None:
    second = replace(with_loras(SOFT), seed=6, id="two")
    made = [event for event in engine.generate([with_loras(SOFT), second]) if isinstance(event, GeneratedImage)]
    assert [image.request_id for image in made] == ["one", "two"]
    assert difference(made[0].data, painted(engine, [SOFT])) <= 1


def test_the_file_says_which_loras_made_it(engine: FluxEngine) -> None:
    image = Image.open(BytesIO(painted(engine, [replace(SOFT, scale=0.5), NIGHT, LoraChoice("snow", 0.0)])))
    assert str(images.read_parameters(image)).endswith(", Loras: night:1 soft:0.5")
    assert "Loras" not in str(images.read_parameters(Image.open(BytesIO(painted(engine, [])))))


IMPOSSIBLE = {
    "too strong": ((LoraChoice("soft", 4.1),), "weight 4.1 of the LoRA soft is outside -4 to 4"),
    "no number": ((LoraChoice("soft", float("nan")),), "weight nan of the LoRA soft is outside"),
    "too many": (tuple(LoraChoice(f"l{i}") for i in range(6)), "number of LoRAs 6 is outside 0 to 5"),
    "twice": ((SOFT, SOFT), "named more than once"),
    "not there": ((LoraChoice("nothing"),), "the LoRA nothing is not there"),
    "a path": ((LoraChoice("../soft"),), "is not the name of a LoRA"),
    "a file that is not there": ((LoraChoice("x", file="/nowhere/x.safetensors"),), "is missing"),
}


@pytest.mark.parametrize(("chosen", "reason"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_what_cannot_be_applied_is_refused_by_both_engines(
    chosen: tuple[LoraChoice, ...], reason: str, loras: Path, engine: FluxEngine
) -> None:
    for each in (engine, FakeEngine(make_spec(loras))):
        with pytest.raises(ValueError, match=reason):
            list(each.generate([with_loras(*chosen)]))


def test_a_model_without_a_folder_of_loras_has_none(loras: Path) -> None:
    with pytest.raises(LoraError, match="it has no folder of LoRAs"):
        list(FakeEngine(replace(make_spec(loras), loras_folder=None)).generate([with_loras(SOFT)]))


def cut_in_place(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def become_another(path: Path) -> None:
    random_lora(path, seed=99)
    os.utime(path, ns=(1, 1))


def become_endless(path: Path) -> None:
    state = load_file(path)
    next(iter(state.values()))[0, 0] = float("nan")
    save_file(state, path)


DAMAGE = {
    "cut off": (cut_in_place, "is cut off or padded"),
    "emptied": (lambda path: os.truncate(path, 0), "has only 0 bytes"),
    "deleted": (Path.unlink, "is not there"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04" + bytes(100)), "can run code"),
    "a link": (lambda path: (path.unlink(), path.symlink_to(FLUX_TINY / "model_index.json")), "is a link"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is not a regular file"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
    "NaN": (become_endless, "holds NaN or infinity"),
}


@pytest.mark.parametrize("was_used", [False, True])
@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_fails_its_request_and_no_other(damage, reason: str, was_used: bool, tmp_path: Path) -> None:
    engine = FluxEngine.load(make_spec(tmp_path), device="cpu")
    plain, path = painted(engine, []), random_lora(tmp_path / "soft.safetensors", seed=1)
    if was_used:
        painted(engine, [SOFT])
    damage(path)
    with pytest.raises(LoraError, match=reason) as caught:
        painted(engine, [SOFT])
    assert str(tmp_path) not in str(caught.value)
    assert painted(engine, []) == plain


def test_a_file_that_was_replaced_is_read_anew_unless_another_was_asked_for(tmp_path: Path) -> None:
    path = random_lora(tmp_path / "soft.safetensors", seed=1)
    pinned = replace(SOFT, version=LoraPlace.named(tmp_path, "soft").version())
    engine = FluxEngine.load(make_spec(tmp_path), device="cpu")
    before = painted(engine, [SOFT])
    assert painted(engine, [pinned]) == before
    become_another(path)
    assert difference(painted(engine, [SOFT]), before) > 20
    assert len(engine.loras) == 1
    for each in (engine, FakeEngine(engine.spec)):
        with pytest.raises(LoraError, match="the LoRA soft was replaced after it was asked for"):
            painted(each, [pinned])


def test_the_matrices_read_once_do_not_hang_on_the_file(tmp_path: Path) -> None:
    path = random_lora(tmp_path / "soft.safetensors", seed=1)
    engine = FluxEngine.load(make_spec(tmp_path), device="cpu")
    whole, halted = painted(engine, [SOFT]), engine.generate([with_loras(SOFT)])
    next(halted)
    os.truncate(path, 0)
    assert picture(halted) == whole


def test_what_stays_loaded_is_bounded_in_bytes_and_the_oldest_goes_first(loras: Path, engine: FluxEngine) -> None:
    def cache(max_bytes: int) -> LoraCache:
        return LoraCache(engine.spec, engine.components.transformer, torch.float32, engine.device, max_bytes)

    held, names = cache(2**30), ("soft", "night", "snow")
    sizes = {name: held.loaded([LoraChoice(name)])[0][0].byte_count for name in names}
    assert held.byte_count == sum(sizes.values()) > 0
    small = cache(sizes["soft"] + max(sizes["night"], sizes["snow"]))
    soft, _ = (small.loaded([LoraChoice(name)])[0][0] for name in ("soft", "night"))
    assert small.loaded([SOFT])[0][0] is soft
    small.loaded([LoraChoice("snow")])
    assert len(small) == 2
    assert small.loaded([SOFT])[0][0] is soft
    tiny = cache(1)
    assert tiny.loaded([SOFT])[0][0].patches
    assert (len(tiny), tiny.byte_count) == (0, 0)


def test_a_file_of_another_type_of_number_is_read_in_the_models(tmp_path: Path) -> None:
    path = random_lora(tmp_path / "soft.safetensors", seed=1)
    engine = FluxEngine.load(make_spec(tmp_path), device="cpu")
    before = painted(engine, [SOFT])
    save_file({name: tensor.bfloat16() for name, tensor in load_file(path).items()}, path)
    assert difference(painted(engine, [SOFT]), before) <= 8


@pytest.mark.parametrize("chosen", [Precision.FP8, Precision.INT8])
def test_quantized_weights_take_loras_too(chosen: Precision, loras: Path) -> None:
    engine = FluxEngine.load(make_spec(loras), device="cpu")
    exact = painted(engine, [SOFT])
    precision.use(chosen, engine.components.transformer)
    plain, soft = painted(engine, []), painted(engine, [SOFT])
    assert difference(soft, plain) > 20
    assert np.abs(pixels(soft) - pixels(exact)).mean() < 0.3 * np.abs(pixels(soft) - pixels(plain)).mean()
    assert painted(engine, []) == plain


def test_an_accelerated_model_is_adapted_too_and_is_fast_again_afterwards(loras: Path) -> None:
    engine = FluxEngine.load(make_spec(loras), device="cpu")
    exact = painted(engine, [SOFT])
    accelerate(engine.components, Speed(compiler=Compiler(backend="eager"), recorder=Recorder(RepeatedRuns())))
    plain = painted(engine, [])
    assert difference(painted(engine, [SOFT]), exact) <= 1
    assert painted(engine, []) == plain
    assert "forward" in engine.components.transformer.__dict__


@pytest.mark.parametrize("chosen", ["bf16", "int8"])
def test_a_model_that_was_loaded_fast_takes_loras(chosen: str, loras: Path) -> None:
    exact = painted(FluxEngine.load(make_spec(loras), device="cpu"), [SOFT])
    engine = FluxEngine.load(make_spec(loras), device="cpu", precision=chosen)
    soft, plain = painted(engine, [SOFT]), painted(engine, [])
    assert difference(soft, plain) > 20
    assert np.abs(pixels(soft) - pixels(exact)).mean() < 0.3 * np.abs(pixels(soft) - pixels(plain)).mean()
    assert painted(engine, [SOFT]) == soft


def test_without_loras_the_steps_are_passed_on_as_they_are() -> None:
    assert list(adapted(flux_tiny(), [], iter([1, 2, 3]))) == [1, 2, 3]
