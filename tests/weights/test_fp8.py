"""Weights in 8-bit floating point, plain and scaled, kept as they are or converted when they are loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import Target
from bildwerk.weights.errors import MismatchedKeysError, WeightsError
from bildwerk.weights.load import build_t5, build_transformer
from bildwerk.weights.places import Place
from bildwerk.weights.quantized_linear import QuantizedLinear
from bildwerk.weights.read_safetensors import open_safetensors
from bildwerk.weights.sections import sections
from bildwerk.weights.signatures import Component
from tests.parity.references import relative_error
from tests.weights import published
from tests.weights.published import Model, State, velocity, write

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
LARGEST = 448.0
ROUNDING_BAR = 0.07


@pytest.fixture(scope="module")
def model() -> Model:
    return published.model()


@pytest.fixture(scope="module")
def state(model: Model) -> State:
    return model.states()["transformer"]


def plain(name: str, weight: Tensor) -> State:
    return {name: weight.to(E4M3)}


def plain_e5m2(name: str, weight: Tensor) -> State:
    return {name: weight.to(E5M2)}


def scaled_by(names: Callable[[str], State], by_row: bool = False) -> Callable[[str, Tensor], State]:
    """How a weight and its scale are written; `names` tells the scale's name and what else lies beside it."""

    def parts(name: str, weight: Tensor) -> State:
        scale = (weight.abs().amax(dim=1, keepdim=True) if by_row else weight.abs().max()) / LARGEST
        beside = {key: value * scale for key, value in names(name.removesuffix(".weight")).items()}
        return {name: (weight / scale).to(E4M3)} | beside

    return parts


def with_marker(name: str, weight: Tensor) -> State:
    owner, marker = name.removesuffix(".weight"), json.dumps({"format": "float8_e4m3fn"}).encode()
    scaled = scaled_by(lambda owner: {f"{owner}.weight_scale": torch.ones(())})
    return scaled(name, weight) | {
        f"{owner}.comfy_quant": torch.tensor(list(marker), dtype=torch.uint8),
        f"{owner}.input_scale": torch.tensor(0.5),
    }


def all_in_fp8(state: State, parts: Callable[[str, Tensor], State], marker: str = "") -> State:
    """Every matrix in fp8, as parts; vectors in bfloat16."""
    written: State = {marker: torch.zeros(2).to(E4M3)} if marker else {}
    for name, tensor in state.items():
        written |= parts(name, tensor) if tensor.ndim == 2 else {name: tensor.bfloat16()}
    return written


FORMS = {
    "plain": (plain, ""),
    "scale_weight": (scaled_by(lambda owner: {f"{owner}.scale_weight": torch.ones(1)}), "scaled_fp8"),
    "with scale_input": (
        scaled_by(lambda owner: {f"{owner}.scale_weight": torch.ones(()), f"{owner}.scale_input": torch.ones(())}),
        "scaled_fp8",
    ),
    "weight_scale": (scaled_by(lambda owner: {f"{owner}.weight_scale": torch.ones(())}), ""),
    "a scale a row": (scaled_by(lambda owner: {f"{owner}.weight_scale": torch.ones(())}, by_row=True), ""),
    "comfy_quant": (with_marker, ""),
}


def loaded(path: Path, keeps_packed: bool = True, dtype: torch.dtype = torch.float32) -> Flux:
    files = sections(open_safetensors(path))[Component.TRANSFORMER]
    return build_transformer(Place(files), Target(dtype, keeps_packed=keeps_packed))


def quantized(module: nn.Module) -> list[str]:
    return [name for name, child in module.named_modules() if isinstance(child, QuantizedLinear)]


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize(("parts", "marker"), FORMS.values(), ids=FORMS.keys())
def test_velocity_is_within_the_rounding(
    parts: Callable[[str, Tensor], State], marker: str, prefix: str, model: Model, state: State, tmp_path: Path
) -> None:
    path = write(tmp_path / "fp8.safetensors", published.prefixed(prefix, all_in_fp8(state, parts, marker)))
    packed, converted = loaded(path), loaded(path, keeps_packed=False)
    assert relative_error(velocity(packed), velocity(model.transformer)) <= ROUNDING_BAR
    assert relative_error(velocity(packed), velocity(converted)) <= 1e-6
    assert len(quantized(packed)) == sum(isinstance(child, nn.Linear) for child in model.transformer.modules())
    assert quantized(converted) == []


def test_fp8_of_five_exponent_bits_is_read(model: Model, state: State, tmp_path: Path) -> None:
    path = write(tmp_path / "fp8.safetensors", all_in_fp8(state, plain_e5m2))
    assert relative_error(velocity(loaded(path)), velocity(model.transformer)) <= 2 * ROUNDING_BAR


def test_packed_weights_take_a_byte_each_and_work_in_bfloat16(state: State, tmp_path: Path) -> None:
    path = write(tmp_path / "fp8.safetensors", all_in_fp8(state, plain))
    packed, converted = (loaded(path, keeps, torch.bfloat16) for keeps in (True, False))
    linear = packed.get_submodule("double_blocks.0.img_attn.qkv")
    assert isinstance(linear, QuantizedLinear)
    assert linear.packed.data.nbytes == linear.packed.data.numel() == 256 * 768
    assert relative_error(velocity(packed, torch.bfloat16), velocity(converted, torch.bfloat16)) <= 1e-6
    assert packed.to(torch.float32).get_submodule("double_blocks.0.img_attn.qkv").packed.data.dtype == torch.uint8


def rounded(tensor: Tensor, is_scaled: bool) -> Tensor:
    """What `all_in_fp8` leaves of a tensor."""
    if tensor.ndim != 2:
        return tensor.bfloat16().float()
    scale = tensor.abs().max() / LARGEST if is_scaled else torch.tensor(1.0)
    return (tensor / scale).to(E4M3).float() * scale


@pytest.mark.parametrize("marker", ["", "scaled_fp8"])
def test_t5_in_fp8_is_loaded(marker: str, model: Model, tmp_path: Path) -> None:
    state, parts = model.states()["t5"], FORMS["with scale_input"][0] if marker else plain
    path = write(tmp_path / "t5xxl_fp8_e4m3fn.safetensors", all_in_fp8(state, parts, marker))
    expected = T5Encoder(published.T5).eval()
    expected.load_state_dict({name: rounded(tensor, bool(marker)) for name, tensor in state.items()})
    files, ids = sections(open_safetensors(path))[Component.T5], torch.tensor([[3, 17, 40, 5]])
    assert relative_error(build_t5(Place(files), published.AS_FLOAT32)(ids), expected(ids)) <= 1e-6


NAME = "double_blocks.0.img_mlp.0"
FAULTS: dict[str, tuple[State, str]] = {
    "a scale for something else": ({f"{NAME}.scale_weight": torch.ones(3)}, "one floating point number, or one a row"),
    "a scale that is no float": ({f"{NAME}.scale_weight": torch.ones(1).int()}, "one floating point number"),
    "two scales": (
        {f"{NAME}.scale_weight": torch.ones(1), f"{NAME}.weight_scale": torch.ones(1)},
        "one floating point number",
    ),
    "another format": ({f"{NAME}.comfy_quant": torch.tensor(list(b'{"format": "nvfp4"}')).byte()}, "other than"),
    "no format": ({f"{NAME}.comfy_quant": torch.tensor(list(b"[[[")).byte()}, "in a format other than"),
    "a format of formats": ({f"{NAME}.comfy_quant": torch.tensor(list(b'{"format": []}')).byte()}, "other than"),
}


@pytest.mark.parametrize(("beside", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_honored_is_refused(beside: State, reason: str, state: State, tmp_path: Path) -> None:
    path = write(tmp_path / "fp8.safetensors", all_in_fp8(state, plain) | beside)
    with pytest.raises(WeightsError, match=reason):
        loaded(path)


def test_a_scale_beside_a_plain_weight_is_unexpected(state: State, tmp_path: Path) -> None:
    path = write(tmp_path / "bf16.safetensors", state | {f"{NAME}.scale_weight": torch.ones(1)})
    with pytest.raises(MismatchedKeysError, match=r"1 unexpected: 'double_blocks\.0\.img_mlp\.0\.scale_weight'"):
        loaded(path)
