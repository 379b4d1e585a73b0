import torch

from bench.gpu.networks import REAL, TINY, Networks, networks, twin
from bildwerk.engine.attention_backend import matmul_attention
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.fast_path import Speed, accelerate, as_written, best_speed, decoder_shape, joint_shape
from bildwerk.engine.gpu.compile import Compilations, Compiler
from bildwerk.engine.gpu.graph_backend import RepeatedRuns
from bildwerk.engine.gpu.recorder import Recorder
from bildwerk.engine.precision import Precision
from tests.engine.velocity import inputs, relative_error, velocity

CPU = torch.device("cpu")
IDS = torch.arange(16).unsqueeze(0)


@torch.inference_mode()
def _answers(model: Networks) -> list[torch.Tensor]:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    texts = [model.t5(IDS), model.clip(IDS)]
    return [*texts, velocity(model.transformer, inputs(TINY)), model.autoencoder.decode(latents)]


def test_all_speed_together_computes_what_the_plain_networks_do() -> None:
    plain = networks(TINY, CPU, torch.float32)
    fast = twin(plain)
    speed = Speed(
        compiler=Compiler(backend="eager"), recorder=Recorder(RepeatedRuns()), attend_in_decoder=matmul_attention
    )
    accelerate(fast, speed)
    with Compilations() as compiled:
        for _ in range(2):
            for given, expected in zip(_answers(fast), _answers(plain), strict=True):
                assert relative_error(given, expected) <= 1e-5
    assert compiled.count == 3


def test_without_a_compiler_it_is_the_same_too() -> None:
    plain = networks(TINY, CPU, torch.float32)
    fast = twin(plain)
    accelerate(fast, best_speed(fast, Precision.BF16, Bucket(1, 32, 32), text_tokens=16))
    for given, expected in zip(_answers(fast), _answers(plain), strict=True):
        assert relative_error(given, expected) <= 1e-5


def test_all_of_it_can_be_taken_back() -> None:
    model = networks(TINY, CPU, torch.float32)
    accelerate(model, Speed(compiler=Compiler(backend="eager"), recorder=Recorder(RepeatedRuns())))
    as_written(model)
    parts = (model.transformer, model.t5, model.clip, model.autoencoder)
    replaced = {name for part in parts for module in part.modules() for name in vars(module)}
    assert not replaced & {"forward", "modulation", "decode"}
    with Compilations() as compiled:
        _answers(model)
    assert compiled.count == 0


def test_the_decoders_attention_can_be_chosen_too() -> None:
    plain = networks(TINY, CPU, torch.float32)
    other = twin(plain)
    seen = []

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(q.shape))
        return matmul_attention(q, k, v)

    accelerate(other, Speed(attend_in_decoder=attend))
    assert relative_error(_answers(other)[-1], _answers(plain)[-1]) <= 1e-5
    assert seen == [(1, 1, 64, 32)]


def test_the_shapes_of_attention_are_those_that_the_networks_ask_for() -> None:
    bucket, shapes = Bucket(1, 1024, 1024), REAL
    assert joint_shape(shapes.transformer, shapes.autoencoder, bucket, 256) == (1, 24, 4352, 128)
    assert decoder_shape(shapes.autoencoder, bucket) == (1, 1, 16384, 512)
