"""All that is computed on a GPU, in FLUX's real widths, on tensors that have a device and a shape but no content.

What asks for a value, mixes devices or gives a CUDA operation what it refuses by its shapes fails here, too.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from bench.gpu.networks import REAL
from bildwerk.engine import attention_backend, decoder_attention, precision, single_buffer
from bildwerk.engine.attention_backend import candidates
from bildwerk.engine.gpu.graphs import stack_of, unstack
from bildwerk.engine.precision import Float8Linear, Precision
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.uninitialized import Uninitialized

CUDA, META = torch.device("cuda", 0), torch.device("meta")
BF16 = torch.bfloat16
FLUX = replace(REAL.transformer, depth=1, depth_single_blocks=1)
T5 = replace(REAL.t5, num_layers=2)
IMAGE_TOKENS, TEXT_TOKENS = 4096, 256
KERNELS = {one.name: one.attend for one in candidates(CUDA)}


class OneDevice(TorchDispatchMode):
    """Refuses what may not be recorded: tensors that come from the host, or go there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [x for x in tree_flatten((args, kwargs, result))[0] if isinstance(x, Tensor)]
        assert len({x.device for x in given}) <= 1, f"{func} leaves the device"
        return result


def on_meta(build: Callable[[], nn.Module]) -> Any:
    with Uninitialized(), META:
        return build().to(BF16).eval().requires_grad_(False)


def empty(*shape: int, dtype: torch.dtype = BF16, device: torch.device = META) -> Tensor:
    return torch.empty(shape, device=device, dtype=dtype)


@pytest.fixture(autouse=True)
def _for_inference() -> Any:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("chosen", list(Precision))
@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_step_and_its_modulation_stay_on_the_device(chosen: Precision, is_compiled: bool, batch: int) -> None:
    model: Flux = on_meta(lambda: Flux(FLUX))
    precision.use(chosen, model)
    if not is_compiled:
        single_buffer.use(model)
    img, txt = empty(batch, IMAGE_TOKENS, 64), empty(batch, TEXT_TOKENS, 4096)
    rotary = empty(TEXT_TOKENS + IMAGE_TOKENS, 64, 2, dtype=torch.float32)
    timesteps, pooled = empty(4, batch, dtype=torch.float32), empty(batch, 768)
    with OneDevice():
        steps = model.modulation(timesteps, pooled)
        stacks = torch.stack([stack_of(step) for step in steps])
        velocity = model(img, txt, rotary, unstack(stacks[0], FLUX))
    assert (velocity.shape, velocity.dtype) == ((batch, IMAGE_TOKENS, 64), BF16)


@pytest.mark.parametrize("text", [Precision.BF16, Precision.INT8])
def test_the_text_encoders_stay_on_the_device(text: Precision) -> None:
    t5: T5Encoder = on_meta(lambda: T5Encoder(T5))
    clip: ClipTextEncoder = on_meta(lambda: ClipTextEncoder(REAL.clip))
    precision.use_in_text_encoder(text, t5)
    ids, clip_ids = empty(2, TEXT_TOKENS, dtype=torch.long), empty(2, 77, dtype=torch.long)
    with OneDevice():
        assert (t5(ids).shape, clip(clip_ids).shape) == ((2, TEXT_TOKENS, 4096), (2, 768))


@pytest.mark.parametrize("name", ["torch", "matmul"])
def test_the_decoder_stays_on_the_device(name: str) -> None:
    autoencoder: Autoencoder = on_meta(lambda: Autoencoder(REAL.autoencoder))
    decoder_attention.use(KERNELS[name], autoencoder)
    autoencoder.decoder.to(memory_format=torch.channels_last)
    latents = empty(1, 16, 128, 128)
    with OneDevice():
        assert autoencoder.decode(latents).shape == (1, 3, 1024, 1024)


@pytest.mark.parametrize("name", list(KERNELS))
@pytest.mark.parametrize("shape", [(1, 24, 4352, 128), (4, 24, 1280, 128), (1, 24, 256 + 48 * 64, 128)])
def test_each_kernel_for_attention_takes_what_it_is_given(name: str, shape: tuple[int, int, int, int]) -> None:
    batch, heads, tokens, width = shape
    with FakeTensorMode(), OneDevice():
        q, k, v = (empty(*shape, device=CUDA) for _ in range(3))
        assert KERNELS[name](q, k, v).shape == (batch, tokens, heads * width)


@pytest.mark.parametrize("name", list(KERNELS))
def test_a_block_can_attend_with_each_of_them(name: str) -> None:
    model: Flux = on_meta(lambda: Flux(FLUX))
    attention_backend.use(KERNELS[name], model)
    modulation = model.modulation(empty(1, 1, dtype=torch.float32), empty(1, 768))[0]
    rotary = empty(TEXT_TOKENS + IMAGE_TOKENS, 64, 2, dtype=torch.float32)
    with OneDevice():
        model(empty(1, IMAGE_TOKENS, 64), empty(1, TEXT_TOKENS, 4096), rotary, modulation)


@pytest.mark.parametrize("rows", [1, 16, 17, 77, 256, 4352])
@pytest.mark.parametrize(("inputs", "outputs"), [(3072, 9216), (3072, 21504), (15360, 3072), (12288, 3072)])
def test_cudas_float8_product_takes_every_layer_with_any_number_of_rows(rows: int, inputs: int, outputs: int) -> None:
    """What it asks of shapes, strides and scales is checked; `_emulated` would not be given tensors on CUDA."""
    with FakeTensorMode(), OneDevice():
        weight = empty(outputs, inputs, dtype=precision.FLOAT8, device=CUDA)
        scales = empty(outputs, 1, dtype=torch.float32, device=CUDA)
        layer = Float8Linear(weight, scales, empty(outputs, device=CUDA))
        assert layer(empty(1, rows, inputs, device=CUDA)).shape == (1, rows, outputs)


def test_a_value_that_is_asked_for_would_be_noticed() -> None:
    with pytest.raises(RuntimeError), OneDevice():
        empty(1).item()
    with pytest.raises(AssertionError, match="leaves the device"), OneDevice():
        torch.ones(1).to(META)
