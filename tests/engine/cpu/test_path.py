"""The whole fast path on a CPU against the networks as they are written, in float32."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.gpu.networks import Networks, networks, shared, twin
from bildwerk.engine.attention_backend import matmul_attention
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.cpu.features import CpuFeatures, cpu_features
from bildwerk.engine.cpu.kernels import Kernels
from bildwerk.engine.cpu.linears import Bfloat16Linear, Int8Linear, PackedLinear, WidenedLinear
from bildwerk.engine.fast_path import Speed, accelerate, best_speed
from bildwerk.engine.precision import Precision, token_linears
from bildwerk.engine.request import EngineError
from bildwerk.flux.layers import DoubleStreamBlock, SingleStreamBlock
from bildwerk.flux.transformer import Flux
from tests.engine.cpu.shapes import WIDE_HEADS
from tests.engine.test_precision import FakeQuantized
from tests.engine.velocity import Inputs, inputs, relative_error, velocity

CPU = torch.device("cpu")
LIMITS = {Precision.BF16: 0.02, Precision.INT8: 0.03}
ALLOWED_OVER_PLAIN = 1.15


def _bfloat16() -> Networks:
    return networks(WIDE_HEADS, CPU, torch.bfloat16)


def _given(batch: int = 1) -> Inputs:
    return inputs(WIDE_HEADS, batch=batch, dtype=torch.bfloat16)


def _exact(model: Networks, given: Inputs) -> torch.Tensor:
    exact = shared(model.transformer, lambda: Flux(WIDE_HEADS.transformer)).float()
    wide = [part.float() for part in given]
    return velocity(exact, Inputs(*wide))


def _speed(precision: Precision, features: CpuFeatures | None = None) -> Speed:
    return Speed(precision, attend=matmul_attention, attend_in_decoder=matmul_attention, cpu=features or cpu_features())


def _fast(precision: Precision, features: CpuFeatures | None = None) -> tuple[Networks, Networks]:
    plain = _bfloat16()
    fast = twin(plain)
    accelerate(fast, _speed(precision, features))
    return plain, fast


def _runs_on_kernels(model: Flux) -> bool:
    blocks = [block for block in model.modules() if isinstance(block, DoubleStreamBlock | SingleStreamBlock)]
    [answer] = {"FastBlocks" in repr(block.forward) for block in blocks}
    return answer


@pytest.mark.parametrize("precision", list(LIMITS))
def test_the_velocity_keeps_within_the_limit(kernels: Kernels, precision: Precision) -> None:
    plain, fast = _fast(precision)
    given = _given()
    assert _runs_on_kernels(fast.transformer)
    assert 1e-4 < relative_error(velocity(fast.transformer, given), _exact(plain, given)) <= LIMITS[precision]


def test_what_sees_few_rows_is_multiplied_where_it_lies(kernels: Kernels) -> None:
    plain, fast = _fast(Precision.BF16)
    for name in ("double_blocks.0.img_mod.lin", "single_blocks.0.modulation.lin", "time_in.out_layer"):
        layer = fast.transformer.get_submodule(name)
        assert "FewRows" in repr(layer.forward)
        assert layer.weight.data_ptr() == plain.transformer.get_submodule(name).weight.data_ptr()
    assert "FewRows" in repr(fast.transformer.final_layer.adaLN_modulation[1].forward)


def test_int8_loses_no_more_than_its_rounding(kernels: Kernels) -> None:
    plain, fast = _fast(Precision.INT8)
    given = _given()
    exact = _exact(plain, given)
    rounded = twin(plain).transformer
    for owner, name, linear in list(token_linears(rounded)):
        setattr(owner, name, FakeQuantized(linear, "int8"))
    allowed = ALLOWED_OVER_PLAIN * relative_error(velocity(rounded, given), exact)
    assert relative_error(velocity(fast.transformer, given), exact) <= allowed


@pytest.mark.parametrize("precision", list(LIMITS))
def test_the_limits_would_notice_blocks_that_do_nothing(kernels: Kernels, precision: Precision) -> None:
    plain = _bfloat16()
    gutted = networks(WIDE_HEADS, CPU, torch.bfloat16)
    with torch.no_grad():
        for _, _, linear in token_linears(gutted.transformer):
            linear.weight.zero_()
    accelerate(gutted, _speed(precision))
    given = _given()
    assert relative_error(velocity(gutted.transformer, given), _exact(plain, given)) >= 0.5


@pytest.mark.parametrize("precision", list(LIMITS))
def test_a_picture_is_the_same_alone_and_in_a_batch(kernels: Kernels, precision: Precision) -> None:
    _, fast = _fast(precision)
    together = _given(batch=3)
    alone = Inputs(
        together.img[1:2], together.txt[1:2], together.rotary, together.timesteps[:, 1:2], together.pooled[1:2]
    )
    assert relative_error(velocity(fast.transformer, together)[1:2], velocity(fast.transformer, alone)) <= 5e-3


@pytest.mark.parametrize("precision", list(LIMITS))
def test_whoever_listens_to_a_layer_is_heard(kernels: Kernels, precision: Precision) -> None:
    """As LoRAs do: they add to a layer's result, which the kernels never make whole."""
    plain, fast = _fast(precision)
    given = _given()
    before = velocity(fast.transformer, given)

    def double(_: nn.Module, __: object, result: torch.Tensor) -> torch.Tensor:
        return result * 2

    layers = ("double_blocks.0.img_mlp.0", "single_blocks.1.linear2")
    hooks = [
        model.get_submodule(name).register_forward_hook(double)
        for name in layers
        for model in (plain.transformer, fast.transformer)
    ]
    expected = velocity(plain.transformer, given)
    assert relative_error(velocity(fast.transformer, given), expected) <= 0.04
    assert relative_error(before, expected) >= 0.1
    for hook in hooks:
        hook.remove()
    assert torch.equal(velocity(fast.transformer, given), before)


@torch.inference_mode()
def test_decoder_and_text_encoder_answer_as_written(kernels: Kernels) -> None:
    plain, fast = _fast(Precision.BF16)
    exact = networks(WIDE_HEADS, CPU, torch.float32)
    latents = torch.randn(2, 4, 9, 13, generator=torch.Generator().manual_seed(0))
    expected = exact.autoencoder.decode(latents)
    limit = 1.15 * relative_error(plain.autoencoder.decode(latents.bfloat16()), expected)
    assert relative_error(fast.autoencoder.decode(latents.bfloat16()), expected) <= max(limit, 0.01)
    ids = torch.arange(16).unsqueeze(0)
    assert isinstance(fast.t5.get_submodule("encoder.block.0.layer.1.DenseReluDense.wo"), Bfloat16Linear)
    assert relative_error(fast.t5(ids), plain.t5(ids)) <= 0.02


@pytest.mark.parametrize(
    ("bfloat16", "int8", "precision", "layer"),
    [
        (True, True, Precision.BF16, Bfloat16Linear),
        (False, True, Precision.BF16, WidenedLinear),
        (False, True, Precision.INT8, Int8Linear),
    ],
)
def test_a_processor_without_the_kernels_gets_the_best_that_it_has(
    bfloat16: bool, int8: bool, precision: Precision, layer: type[PackedLinear]
) -> None:
    plain, fast = _fast(precision, CpuFeatures(bfloat16, int8, None, "none were made"))
    given = _given()
    assert isinstance(fast.transformer.get_submodule("single_blocks.0.linear1"), layer)
    assert relative_error(velocity(fast.transformer, given), _exact(plain, given)) <= LIMITS[precision]


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8])
def test_a_precision_that_the_processor_lacks_is_refused(precision: Precision) -> None:
    with pytest.raises(EngineError, match=f"precision {precision} cannot be had on this CPU"):
        _fast(precision, CpuFeatures(True, False, None))


def test_heads_that_the_kernels_do_not_know_run_as_written() -> None:
    odd = replace(WIDE_HEADS, transformer=replace(WIDE_HEADS.transformer, num_heads=6, axes_dim=(8, 12, 12)))
    plain = networks(odd, CPU, torch.bfloat16)
    fast = twin(plain)
    accelerate(fast, best_speed(fast, Precision.BF16, Bucket(1, 32, 32), text_tokens=16))
    given = inputs(odd, dtype=torch.bfloat16)
    assert not _runs_on_kernels(fast.transformer)
    assert relative_error(velocity(fast.transformer, given), velocity(plain.transformer, given)) <= 0.02


def test_kernels_without_bfloat16_products_leave_the_blocks_as_written(kernels: Kernels) -> None:
    _, fast = _fast(Precision.BF16, CpuFeatures(False, True, kernels))
    assert not _runs_on_kernels(fast.transformer)


def test_networks_in_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"for networks in bfloat16, not in torch\.float32"):
        accelerate(networks(WIDE_HEADS, CPU, torch.float32), _speed(Precision.BF16))
