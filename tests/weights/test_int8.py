"""A transformer in eight bits on disk: written from every layout, and read strictly, the very numbers as written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from bildwerk.flux.transformer import Flux
from bildwerk.weights import new_file
from bildwerk.weights.assign import Target
from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.layouts import transformer_layouts
from bildwerk.weights.load import build_transformer
from bildwerk.weights.places import Place
from bildwerk.weights.quantize import quantize
from bildwerk.weights.quantized_linear import QuantizedLinear
from bildwerk.weights.read_safetensors import open_safetensors
from bildwerk.weights.sections import sections
from bildwerk.weights.signatures import Component
from bildwerk.weights.write_int8 import PAGE, Int8Plan, write_int8
from tests.parity.references import relative_error
from tests.weights import published
from tests.weights.published import Model, State, velocity, write

LIMIT = 0.03
NAME = "double_blocks.0.img_mlp.0"
CONFIG = {
    "in_channels": 64,
    "num_attention_heads": 2,
    "attention_head_dim": 128,
    "num_layers": 2,
    "num_single_layers": 2,
    "joint_attention_dim": 64,
    "pooled_projection_dim": 64,
}


@pytest.fixture(scope="module")
def model() -> Model:
    return published.model()


@pytest.fixture(scope="module")
def state(model: Model) -> State:
    return model.states()["transformer"]


@pytest.fixture(scope="module")
def source(state: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("source") / "flux.safetensors", state)


@pytest.fixture(scope="module")
def written(source: Path) -> Path:
    return quantized(source, source.with_name("int8.safetensors"))


def quantized(source: Path, destination: Path) -> Path:
    progress = list(quantize(source, destination))
    assert progress[-1] == (len(progress), len(progress))
    return destination


def loaded(path: Path, dtype: torch.dtype = torch.float32, keeps_packed: bool = True) -> Flux:
    files = sections(open_safetensors(path))[Component.TRANSFORMER]
    return build_transformer(Place(files), Target(dtype, keeps_packed=keeps_packed))


def linears(module: nn.Module) -> dict[str, nn.Module]:
    return {name: child for name, child in module.named_modules() if isinstance(child, nn.Linear | QuantizedLinear)}


def test_levels_and_scales_are_those_of_the_weights(state: State, written: Path) -> None:
    model = loaded(written)
    for name, linear in linears(model).items():
        assert isinstance(linear, QuantizedLinear), name
        weight, packed = state[f"{name}.weight"], linear.packed
        scale = weight.abs().amax(dim=1, keepdim=True) / 127
        assert torch.equal(packed.scale, scale)
        assert torch.equal(packed.data.view(torch.int8), (weight / scale).round().to(torch.int8))
        assert packed.data.view(torch.int8).abs().amax() == 127


def test_every_matrix_is_a_byte_a_value_and_all_else_bfloat16(state: State, written: Path) -> None:
    held = load_file(written)
    matrices = {name for name, tensor in state.items() if tensor.ndim == 2}
    for name, tensor in state.items():
        assert held[name].dtype == (torch.int8 if name in matrices else torch.bfloat16)
        if name not in matrices:
            assert torch.equal(held[name], tensor.bfloat16())
    owners = [name.removesuffix(".weight") for name in matrices]
    beside = {f"{owner}.{kind}" for owner in owners for kind in ("weight_scale", "comfy_quant")}
    assert held.keys() == state.keys() | beside
    for owner in owners:
        assert held[f"{owner}.weight_scale"].shape == (len(state[f"{owner}.weight"]), 1)
        assert json.loads(bytes(held[f"{owner}.comfy_quant"])) == {"format": "int8_tensorwise"}
    with safe_open(written, framework="pt") as file:
        assert file.metadata()["quantization"] == "int8_tensorwise"


def test_the_matrices_begin_on_a_page(state: State, written: Path) -> None:
    plan = Int8Plan.of({name: tuple(tensor.shape) for name, tensor in state.items()})
    first = min(place for name, place in plan.places.items() if state.get(name, torch.zeros(1)).ndim == 2)
    assert first % PAGE == 0
    assert loaded(written).img_in.get_buffer("data").data_ptr() % PAGE == first % PAGE
    assert written.stat().st_size == plan.size


@pytest.mark.parametrize("keeps_packed", [True, False])
def test_velocity_is_within_the_limit(keeps_packed: bool, model: Model, written: Path) -> None:
    exact = velocity(model.transformer)
    assert 1e-3 < relative_error(velocity(loaded(written, keeps_packed=keeps_packed)), exact) <= LIMIT
    in_bfloat16 = velocity(loaded(written, torch.bfloat16, keeps_packed), torch.bfloat16)
    assert relative_error(in_bfloat16.float(), exact) <= LIMIT


def in_a_file(state: State, folder: Path) -> Path:
    return write(folder / "flux.safetensors", published.prefixed(published.PREFIXES["transformer"], state))


def in_a_model_folder(state: State, folder: Path) -> Path:
    in_a_component_folder(state, folder / "transformer")
    return folder


def in_a_component_folder(state: State, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    write(folder / "diffusion_pytorch_model.safetensors", transformer_layouts(published.TRANSFORMER)[0].export(state))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def beside_the_folders(state: State, folder: Path) -> Path:
    in_a_file(state, folder)
    write(folder / "ae.safetensors", {"decoder.conv_in.weight": torch.zeros(1)})
    return folder


@pytest.mark.parametrize("lay", [in_a_file, in_a_model_folder, in_a_component_folder, beside_the_folders])
def test_every_layout_becomes_the_same_file(
    lay: Callable[[State, Path], Path], state: State, written: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    made = quantized(lay(state, folder), tmp_path / "made.safetensors")
    assert made.read_bytes() == written.read_bytes()


def test_what_is_int8_already_stays_the_same_numbers(written: Path, tmp_path: Path) -> None:
    """Also where no row has the largest level, which quantizing once more would give it."""
    tensors = load_file(written)
    tensors[f"{NAME}.weight"] //= 2
    halved = write(tmp_path / "halved.safetensors", tensors)
    again = load_file(quantized(halved, tmp_path / "again.safetensors"))
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def test_fp8_becomes_int8(model: Model, state: State, tmp_path: Path) -> None:
    fp8 = {name: t.to(torch.float8_e4m3fn) if t.ndim == 2 else t for name, t in state.items()}
    path = quantized(write(tmp_path / "fp8.safetensors", fp8), tmp_path / "int8.safetensors")
    assert relative_error(velocity(loaded(path)), velocity(loaded(tmp_path / "fp8.safetensors"))) <= LIMIT


def test_a_row_of_zeros_stays_one(state: State, tmp_path: Path) -> None:
    weight = state[f"{NAME}.weight"].clone()
    weight[3] = 0
    path = quantized(write(tmp_path / "a.safetensors", state | {f"{NAME}.weight": weight}), tmp_path / "b.safetensors")
    unpacked = loaded(path, keeps_packed=False).get_submodule(NAME).weight
    assert not unpacked[3].any()
    assert unpacked[4].any()


def test_files_of_others_are_read(state: State, tmp_path: Path) -> None:
    """One scale for all, no marker or one with more in it; a scale a row without the second dimension."""
    path = quantized(write(tmp_path / "a.safetensors", state), tmp_path / "b.safetensors")
    tensors = {name: tensor for name, tensor in load_file(path).items() if not name.endswith("comfy_quant")}
    tensors[f"{NAME}.weight_scale"] = tensors[f"{NAME}.weight_scale"].mean()
    tensors["img_in.weight_scale"] = tensors["img_in.weight_scale"].flatten()
    tensors["txt_in.comfy_quant"] = marker('{"format": "int8_tensorwise", "per_row": true, "convrot": false}')
    expected = tensors[f"{NAME}.weight"].float() * tensors[f"{NAME}.weight_scale"]
    model = loaded(write(tmp_path / "c.safetensors", tensors), keeps_packed=False)
    assert torch.equal(model.get_submodule(NAME).weight, expected)


def marker(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def test_a_missing_scale_is_an_error(written: Path, tmp_path: Path) -> None:
    tensors = load_file(written)
    del tensors[f"{NAME}.weight_scale"]
    with pytest.raises(WeightsError, match=r"'double_blocks\.0\.img_mlp\.0\.weight' in I8 without a scale"):
        loaded(write(tmp_path / "a.safetensors", tensors))


FAULTS: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "a scale too few": ("weight_scale", lambda scale: scale[1:].clone(), "one floating point number, or one a row"),
    "a scale that is no float": ("weight_scale", lambda scale: scale.int(), "one floating point number"),
    "a scale that is no number": ("weight_scale", lambda scale: scale.index_fill(0, torch.tensor(5), torch.nan), "no"),
    "an infinite scale": ("weight_scale", lambda scale: scale.index_fill(0, torch.tensor(5), torch.inf), "infinite"),
    "a negative scale": ("weight_scale", lambda scale: -scale, "negative"),
    "rotated weights": (
        "comfy_quant",
        lambda _: marker('{"format": "int8_tensorwise", "convrot": true}'),
        "marked with 'convrot', which is not read",
    ),
    "another format": ("comfy_quant", lambda _: marker('{"format": "int8_blockwise"}'), "other than int8_tensorwise"),
    "fp8's marker": ("comfy_quant", lambda _: marker('{"format": "float8_e4m3fn"}'), "other than int8_tensorwise"),
    "weights in sixteen bits": ("weight", lambda weight: weight.short(), "weight in I16"),
    "weights without a sign": ("weight", lambda weight: weight.view(torch.uint8), "weight in U8"),
    "a bias in eight bits": ("bias", lambda bias: bias.char(), "in I8 without a scale"),
}


@pytest.mark.parametrize(("kind", "change", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_honored_is_refused(
    kind: str, change: Callable[[Tensor], Tensor], reason: str, written: Path, tmp_path: Path
) -> None:
    tensors = load_file(written)
    tensors[f"{NAME}.{kind}"] = change(tensors[f"{NAME}.{kind}"])
    if kind == "weight":
        del tensors[f"{NAME}.weight_scale"], tensors[f"{NAME}.comfy_quant"]
    with pytest.raises(WeightsError, match=reason):
        loaded(write(tmp_path / "a.safetensors", tensors))


def test_another_shape_is_refused(written: Path, tmp_path: Path) -> None:
    tensors = load_file(written)
    tensors[f"{NAME}.weight"] = tensors[f"{NAME}.weight"][:, 1:]
    with pytest.raises(MismatchedKeysError, match="1 misshapen"):
        loaded(write(tmp_path / "a.safetensors", tensors))


def test_a_file_that_is_there_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    target.write_text("precious")
    with pytest.raises(WeightsError, match="is there already, and is not overwritten"):
        next(quantize(source, target))
    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_that_comes_in_the_meantime_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.safetensors"
    progress = quantize(source, target)
    next(progress)
    target.write_text("precious")
    with pytest.raises(WeightsError, match="is not overwritten"):
        list(progress)
    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_is_left_of_one_that_was_stopped(source: Path, tmp_path: Path) -> None:
    progress = quantize(source, tmp_path / "a.safetensors")
    next(progress)
    assert len(list(tmp_path.iterdir())) == 1
    progress.close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_seen_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(new_file.shutil, "disk_usage", lambda _: usage._replace(free=new_file.KEPT_FREE + 1000))
    with pytest.raises(WeightsError, match=r"takes [\d,]+ bytes .* the disk has only [\d,]+ left"):
        next(quantize(source, tmp_path / "a.safetensors"))
    assert list(tmp_path.iterdir()) == []


def test_without_second_names_a_file_is_renamed(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(new_file.os, "link", link)
    target = quantized(source, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(WeightsError, match="is there already"):
        list(quantize(source, target))


@pytest.mark.parametrize("name", [f"{NAME}.weight", f"{NAME}.bias"])
def test_weights_that_are_no_numbers_are_refused(name: str, state: State, tmp_path: Path) -> None:
    damaged = state[name].clone()
    damaged.view(-1)[7] = torch.nan
    source = write(tmp_path / "a.safetensors", state | {name: damaged})
    with pytest.raises(WeightsError, match=f"holds NaN or infinity in '{name}'"):
        list(quantize(source, tmp_path / "b.safetensors"))
    assert list(tmp_path.iterdir()) == [source]


def test_a_model_that_no_single_file_can_tell_is_refused(state: State, tmp_path: Path) -> None:
    folder = in_a_component_folder(state, tmp_path / "transformer")
    (folder / "config.json").write_text(json.dumps(CONFIG | {"axes_dims_rope": [32, 48, 48]}))
    with pytest.raises(WeightsError, match=r"settings in its config\.json that no single file could tell"):
        next(quantize(folder, tmp_path / "b.safetensors"))


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        ("nowhere", "b.safetensors", "neither a folder nor one of"),
        ("nowhere.safetensors", "b.safetensors", "is missing or cannot be reached"),
        (".", "b.safetensors", "holds no transformers: name the file"),
        (".", "b.gguf", "must end with .safetensors or .sft"),
        ("a.safetensors", "no/folder/b.safetensors", "there is no folder"),
        ("lora.safetensors", "b.safetensors", "holds no transformer"),
    ],
)
def test_what_cannot_be_done_is_explained(
    source: str, destination: str, reason: str, state: State, tmp_path: Path
) -> None:
    if source == "a.safetensors":
        write(tmp_path / source, state)
    write(tmp_path / "lora.safetensors", {"something.lora_A.weight": torch.zeros(1, 1)})
    with pytest.raises(WeightsError, match=reason):
        next(quantize(tmp_path / source, tmp_path / destination))
    assert not (tmp_path / destination).exists()


def test_two_transformers_in_a_folder_are_one_too_many(state: State, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.safetensors", state)
    with pytest.raises(WeightsError, match="holds 2 transformers: name the file"):
        next(quantize(tmp_path, tmp_path / "c.safetensors"))


def test_a_writer_that_is_handed_the_wrong_tensors_keeps_nothing(tmp_path: Path) -> None:
    for tensors in ([], [("a.bias", torch.zeros(3))], [("a.weight", torch.zeros(2, 2))]):
        with pytest.raises(ValueError, match=r"not handed over|cannot be written"):
            list(write_int8(tmp_path / "a.safetensors", {"a.weight": (2, 2), "a.bias": (2,)}, tensors))
    assert list(tmp_path.iterdir()) == []
