import pytest
import torch

from bench.gpu.networks import TINY, networks, twin
from bildwerk.engine.gpu.compile import (
    Compilations,
    Compiler,
    allow_recompiling,
    compile_blocks,
    compile_decoder,
    uncompiled,
)
from bildwerk.flux.transformer import Flux
from tests.engine.velocity import inputs, relative_error, velocity

CPU = torch.device("cpu")
TRACED = Compiler(backend="eager")


@pytest.fixture(autouse=True)
def _nothing_compiled_yet() -> None:
    torch.compiler.reset()


def _compiled() -> tuple[Flux, Flux]:
    plain = networks(TINY, CPU, torch.float32)
    fast = twin(plain)
    compile_blocks(fast.transformer, TRACED)
    return plain.transformer, fast.transformer


def test_blocks_trace_in_one_piece_and_compute_the_same() -> None:
    plain, fast = _compiled()
    given = inputs(TINY)
    assert relative_error(velocity(fast, given), velocity(plain, given)) <= 1e-6


def test_all_blocks_of_a_class_share_one_compilation() -> None:
    _, fast = _compiled()
    with Compilations() as compiled:
        velocity(fast, inputs(TINY))
    assert compiled.count == 2


def test_a_warm_shape_compiles_nothing_and_a_new_one_does() -> None:
    _, fast = _compiled()
    for side in (16, 8):
        velocity(fast, inputs(TINY, side=side))
    with Compilations() as warm:
        for side in (16, 8, 16):
            velocity(fast, inputs(TINY, side=side))
    with Compilations() as cold:
        velocity(fast, inputs(TINY, side=4))
    assert (warm.count, cold.count) == (0, 2)


def test_what_is_asked_for_uncompiled_compiles_nothing_and_is_the_same() -> None:
    plain, fast = _compiled()
    given = inputs(TINY)
    with Compilations() as compiled, uncompiled():
        assert relative_error(velocity(fast, given), velocity(plain, given)) <= 1e-6
    assert compiled.count == 0


def test_many_shapes_stay_compiled_when_they_were_announced() -> None:
    _, fast = _compiled()
    sides = tuple(range(2, 20, 2))
    allow_recompiling(len(sides))
    for side in sides:
        velocity(fast, inputs(TINY, side=side))
    with Compilations() as warm:
        for side in sides:
            velocity(fast, inputs(TINY, side=side))
    assert warm.count == 0


def test_the_decoder_is_compiled_in_the_format_of_convolutions() -> None:
    plain = networks(TINY, CPU, torch.float32)
    fast = twin(plain)
    compile_decoder(fast.autoencoder, TRACED)
    latents = torch.randn(1, 4, 8, 8)
    with torch.no_grad(), Compilations() as compiled:
        assert relative_error(fast.autoencoder.decode(latents), plain.autoencoder.decode(latents)) <= 1e-5
    assert compiled.count == 1
    assert fast.autoencoder.decoder.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert plain.autoencoder.decoder.conv_in.weight.is_contiguous()


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # what torch itself imports
def test_kernels_made_by_the_compiler_compute_the_same() -> None:
    plain = networks(TINY, CPU, torch.float32)
    fast = twin(plain)
    compile_blocks(fast.transformer.single_blocks[0], Compiler())
    given = inputs(TINY, side=4)
    assert relative_error(velocity(fast.transformer, given), velocity(plain.transformer, given)) <= 1e-5
