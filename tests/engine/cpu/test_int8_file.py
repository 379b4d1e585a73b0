"""Weights that were written as int8, on the fast path: the same levels and scales, and no copy of what stays mapped."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bildwerk.engine.attention_backend import matmul_attention
from bildwerk.engine.cpu import few_rows, mapped_pages
from bildwerk.engine.cpu.features import CpuFeatures, cpu_features
from bildwerk.engine.cpu.kernels import Int8Rows, Kernels
from bildwerk.engine.cpu.linears import UNSIGNED_ZERO, Int8Linear
from bildwerk.engine.cpu.path import accelerate_transformer
from bildwerk.engine.fast_path import REPLACED, _restore
from bildwerk.engine.precision import Precision, token_layers
from bildwerk.flux.layers import Modulation
from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import Target
from bildwerk.weights.load import build_transformer
from bildwerk.weights.lora import applied, load_lora
from bildwerk.weights.packed import INT8, PackedTensor
from bildwerk.weights.places import Place
from bildwerk.weights.quantize import quantize
from bildwerk.weights.quantized_linear import QuantizedLinear
from bildwerk.weights.read_safetensors import open_safetensors
from bildwerk.weights.sections import sections
from bildwerk.weights.signatures import Component
from tests.parity.references import relative_error
from tests.weights import published
from tests.weights.published import Model, velocity, write

LIMIT = 0.03
BETWEEN_WAYS = 0.02
"""The fast one rounds activations to eight bits too."""


@pytest.fixture(scope="module")
def model() -> Model:
    return published.model()


@pytest.fixture(scope="module")
def path(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    source = write(folder / "flux.safetensors", model.states()["transformer"])
    list(quantize(source, folder / "int8.safetensors"))
    return folder / "int8.safetensors"


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def eager(path: Path) -> Flux:
    files = sections(open_safetensors(path))[Component.TRANSFORMER]
    return build_transformer(Place(files), Target(torch.bfloat16))


def accelerated(path: Path, precision: Precision = Precision.INT8, features: CpuFeatures | None = None) -> Flux:
    flux = eager(path)
    accelerate_transformer(flux, precision, features or cpu_features(), matmul_attention)
    return flux


def answer(flux: Flux) -> Tensor:
    return velocity(flux, torch.bfloat16).float()


def levels_in(linear: Int8Linear) -> Tensor:
    """O K, float32: what the packed weight, which lies in an order of its own, makes of rows with a single one."""
    ones = (UNSIGNED_ZERO + torch.eye(linear.in_features)).to(torch.uint8)
    rows = linear.product(Int8Rows(ones, torch.ones(linear.in_features)), torch.float32).rows
    return rows.t() / linear._scales[:, None]


def test_the_levels_and_scales_of_the_file_are_packed(kernels: Kernels, path: Path) -> None:
    plain, fast = eager(path), accelerated(path)
    layers = list(token_layers(plain, QuantizedLinear))
    assert len(layers) == 2 * 8 + 2 * 2
    for name, layer in plain.named_modules():
        if any(layer is each for _, _, each in layers):
            packed = fast.get_submodule(name)
            assert isinstance(packed, Int8Linear), name
            assert torch.equal(packed._scales, layer.packed.scale.flatten())
            expected = layer.packed.data.view(torch.int8).float()
            torch.testing.assert_close(levels_in(packed), expected, rtol=0, atol=1e-3)


def test_it_answers_as_the_unpacked_weights_do(kernels: Kernels, model: Model, path: Path) -> None:
    exact = velocity(model.transformer)
    slow, fast = answer(eager(path)), answer(accelerated(path))
    assert relative_error(slow, exact) <= LIMIT
    assert relative_error(fast, exact) <= LIMIT
    assert 1e-4 < relative_error(fast, slow) <= BETWEEN_WAYS


@pytest.mark.parametrize(
    ("precision", "features"),
    [
        (Precision.INT8, CpuFeatures(True, True, None)),
        (Precision.BF16, CpuFeatures(True, True, None)),
        (Precision.BF16, None),
    ],
    ids=["no kernels", "bf16, no kernels", "bf16"],
)
def test_without_kernels_or_in_bfloat16_it_runs_too(
    kernels: Kernels, precision: Precision, features: CpuFeatures | None, path: Path
) -> None:
    flux = accelerated(path, precision, features)
    packed = precision is Precision.INT8
    assert isinstance(flux.get_submodule("single_blocks.0.linear1"), Int8Linear if packed else QuantizedLinear)
    assert relative_error(answer(flux), answer(eager(path))) <= BETWEEN_WAYS


def is_mapped(tensor: Tensor) -> bool:
    return mapped_pages._maps_a_file(tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes)


def test_what_sees_one_row_a_picture_stays_where_it_lies(kernels: Kernels, path: Path) -> None:
    flux = accelerated(path)
    modulations = [module.lin for module in flux.modules() if isinstance(module, Modulation)]
    assert len(modulations) == 6
    for layer in (*modulations, flux.final_layer.adaLN_modulation[1], flux.time_in.in_layer, flux.txt_in):
        assert isinstance(layer, QuantizedLinear)
        assert "FewRows" in repr(layer.forward)
        assert is_mapped(layer.packed.data)
    _restore(flux, REPLACED)
    assert "FewRows" not in repr(modulations[0].forward)


@pytest.mark.parametrize("rows", [1, few_rows.FEW, few_rows.FEW + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [torch.rand(37, 1), torch.rand(())], ids=["a scale a row", "one scale"])
def test_a_few_rows_are_multiplied_as_many_are(kernels: Kernels, rows: int, dtype: torch.dtype, scale: Tensor) -> None:
    weight = torch.randint(-128, 128, (37, 195), dtype=torch.int8).view(torch.uint8)
    layer = QuantizedLinear(PackedTensor(INT8, (37, 195), weight, scale), has_bias=True)
    layer.bias = nn.Parameter(torch.randn(37, dtype=dtype), requires_grad=False)
    x = torch.randn(1, rows, 195, dtype=dtype)
    expected = layer.float()(x.float()).to(dtype)
    few_rows.use(layer, kernels)
    given = layer.to(dtype)(x)
    assert given.shape == (1, rows, 37)
    assert given.dtype == dtype
    assert relative_error(given, expected) <= (1e-5 if dtype == torch.float32 else 0.01)


def test_a_row_of_no_numbers_stays_one(kernels: Kernels) -> None:
    weight = PackedTensor(INT8, (3, 5), torch.ones(3, 5, dtype=torch.uint8), torch.ones(3, 1))
    layer = QuantizedLinear(weight, has_bias=False)
    few_rows.use(layer, kernels)
    given = layer(torch.tensor([[1.0, 2, 3, 4, 5], [1, 2, torch.nan, 4, 5]]))
    assert torch.equal(given[0], torch.full((3,), 15.0))
    assert given[1].isnan().all()


def lora_file(flux: Flux, folder: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    state = {}
    for name in ("double_blocks.0.img_attn.qkv", "single_blocks.1.linear2", "single_blocks.0.modulation.lin", "img_in"):
        outputs, inputs = flux.get_submodule(name).weight.shape
        state[f"{name}.lora_A.weight"] = torch.randn(4, inputs, generator=generator) * inputs**-0.5
        state[f"{name}.lora_B.weight"] = torch.randn(outputs, 4, generator=generator)
    return write(folder / "lora.safetensors", state)


def test_a_lora_changes_it_as_it_changes_the_original(
    kernels: Kernels, model: Model, path: Path, tmp_path: Path
) -> None:
    file, fast = lora_file(model.transformer, tmp_path), accelerated(path)
    before = answer(fast)
    with applied(model.transformer, [(load_lora(file, model.transformer, torch.float32), 0.8)]):
        expected = velocity(model.transformer)
    with applied(fast, [(load_lora(file, fast, torch.bfloat16), 0.8)]):
        assert relative_error(answer(fast), expected) <= LIMIT
    assert relative_error(before, expected) >= 0.1
    assert torch.equal(answer(fast), before)


def test_the_pages_of_what_was_packed_are_let_go(kernels: Kernels, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    release = mapped_pages.release
    monkeypatch.setattr(mapped_pages, "release", lambda tensor: released.append((release(tensor), tensor.nbytes)))
    flux = accelerated(path)
    packed = [layer for _, _, layer in token_layers(flux, Int8Linear)]
    assert [size for _, size in released] == [layer.in_features * layer.out_features for layer in packed]
    assert all(done for done, _ in released)


def test_pages_that_were_let_go_are_read_again(path: Path) -> None:
    tensor = eager(path).get_submodule("single_blocks.0.linear1").packed.data
    before = tensor.clone()
    assert mapped_pages.release(tensor)
    assert torch.equal(tensor, before)


def test_memory_that_maps_no_file_is_left_alone() -> None:
    tensor = torch.full((2**20,), 7, dtype=torch.uint8)
    assert not mapped_pages.release(tensor)
    assert not mapped_pages.release(tensor[:10])
    assert (tensor == 7).all()
