import torch

from bench.gpu.networks import TINY, networks, twin
from bildwerk.engine import single_buffer
from tests.engine.velocity import inputs, relative_error, velocity

CPU = torch.device("cpu")


def test_the_velocity_is_that_of_the_blocks_undo() -> None:
    plain = networks(TINY, CPU, torch.float32)
    fused = twin(plain)
    single_buffer.use(fused.transformer)
    given = inputs(TINY)
    assert "forward" in vars(fused.transformer.single_blocks[0])
    assert relative_error(velocity(fused.transformer, given), velocity(plain.transformer, given)) <= 1e-6


def test_the_names_of_the_parameters_stay() -> None:
    model = networks(TINY, CPU, torch.float32).transformer
    names = set(model.state_dict())
    single_buffer.use(model)
    assert set(model.state_dict()) == names
