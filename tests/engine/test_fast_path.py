import torch

from bench.gpu.networks import TINY, Networks, networks, twin
from bildwerk.engine.compile import Compilations, Compiler
from bildwerk.engine.fast_path import Speed, accelerate, as_written, best_speed
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
    accelerate(fast, Speed(compiler=Compiler(backend="eager"), graphs=True))
    with Compilations() as compiled:
        for _ in range(2):
            for given, expected in zip(_answers(fast), _answers(plain), strict=True):
                assert relative_error(given, expected) <= 1e-5
    assert compiled.count == 3


def test_without_a_compiler_it_is_the_same_too() -> None:
    plain = networks(TINY, CPU, torch.float32)
    fast = twin(plain)
    accelerate(fast, best_speed(fast, Precision.BF16, tokens=80))
    for given, expected in zip(_answers(fast), _answers(plain), strict=True):
        assert relative_error(given, expected) <= 1e-5


def test_all_of_it_can_be_taken_back() -> None:
    model = networks(TINY, CPU, torch.float32)
    accelerate(model, Speed(compiler=Compiler(backend="eager"), graphs=True))
    as_written(model)
    parts = (model.transformer, model.t5, model.clip, model.autoencoder)
    replaced = {name for part in parts for module in part.modules() for name in vars(module)}
    assert not replaced & {"forward", "modulation", "decode"}
    with Compilations() as compiled:
        _answers(model)
    assert compiled.count == 0
