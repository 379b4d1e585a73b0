import pytest
import torch
from torch import Tensor, nn

from bench.gpu.networks import TINY, Networks, networks, twin
from bildwerk.engine.gpu.compile import Compilations, Compiler, compile_blocks
from bildwerk.engine.gpu.copies import PlainCopies
from bildwerk.engine.gpu.footprint import blocks_of
from bildwerk.engine.gpu.plan import Placement, Plan, plans
from bildwerk.engine.gpu.streaming import Streamed, place
from bildwerk.engine.precision import Precision
from bildwerk.flux.layers import Modulation
from tests.engine.velocity import inputs, relative_error, velocity

CPU = torch.device("cpu")
IDS = torch.arange(16).unsqueeze(0)
EVERYTHING = Plan(Placement.ALL_STREAMED, Precision.BF16)


class SlowCopies(PlainCopies):
    """What is copied is not there before it was waited for; what was released may be overwritten at any time."""

    def __init__(self, device: torch.device = CPU) -> None:
        super().__init__(device)
        self.begun: dict[int, tuple[Tensor, Tensor]] = {}
        self.in_use: set[int] = set()
        self.count = 0

    def begin(self, slot: int, target: Tensor, source: Tensor) -> None:
        assert slot not in self.in_use
        self.begun[slot] = (target, source)
        target.fill_(255)
        self.count += 1

    def wait(self, slot: int) -> None:
        target, source = self.begun.pop(slot)
        target.copy_(source)
        self.in_use.add(slot)

    def release(self, slot: int) -> None:
        self.in_use.remove(slot)


def _both(model: Networks) -> list[Tensor]:
    with torch.inference_mode():
        return [model.t5(IDS), velocity(model.transformer, inputs(TINY))]


@pytest.mark.parametrize("plan", plans([Precision.BF16]), ids=str)
def test_a_placed_model_answers_as_before(plan: Plan) -> None:
    original = networks(TINY, CPU, torch.float32)
    placed = twin(original)
    place(placed, plan, CPU, SlowCopies)
    for _ in range(2):
        for given, expected in zip(_both(placed), _both(original), strict=True):
            assert relative_error(given, expected) <= 1e-6


@pytest.mark.parametrize("chosen", [Precision.FP8, Precision.INT8, Precision.INT4])
def test_narrow_weights_can_travel_too(chosen: Precision) -> None:
    answers = []
    for placement in (Placement.RESIDENT, Placement.ALL_STREAMED):
        model = networks(TINY, CPU, torch.float32)
        place(model, Plan(placement, chosen, text=Precision.INT8), CPU, SlowCopies)
        answers.append(_both(model))
    for travelling, resident in zip(*answers, strict=True):
        assert relative_error(travelling, resident) <= 1e-6


def test_each_module_is_prepared_and_taken_to_the_host_before_the_next() -> None:
    layers = [nn.Linear(4, 4, bias=False).requires_grad_(False) for _ in range(3)]
    original = [layer.weight.data_ptr() for layer in layers]
    seen: list[tuple[int, list[bool]]] = []

    def prepare(layer: nn.Module) -> None:
        moved = [other.weight.data_ptr() != was for other, was in zip(layers, original, strict=True)]
        seen.append((layers.index(layer), moved))

    Streamed(layers, CPU, SlowCopies(), prepare=prepare)
    assert seen == [(index, [other < index for other in range(3)]) for index in range(3)]


def test_each_visit_is_one_copy_and_the_next_has_begun_by_then() -> None:
    model, copies = networks(TINY, CPU, torch.float32), SlowCopies()
    Streamed(blocks_of(model.transformer), CPU, copies, (Modulation,))
    for _ in range(3):
        velocity(model.transformer, inputs(TINY))
    assert copies.count == 3 * 5 + 1


def test_a_call_out_of_turn_is_right_as_well() -> None:
    layers = [nn.Linear(4, 4) for _ in range(3)]
    x = torch.randn(2, 4)
    expected = [layer(x).detach() for layer in layers]
    Streamed(layers, CPU, SlowCopies())
    for index in (0, 2, 2, 1, 0):
        torch.testing.assert_close(layers[index](x), expected[index], atol=0, rtol=0)


def test_no_more_than_two_blocks_are_on_the_device() -> None:
    layers = [nn.Linear(64, 64, bias=False) for _ in range(5)]
    streamed = Streamed(layers, CPU, PlainCopies(CPU))
    assert [slot.numel() for slot in streamed.slots] == [64 * 64 * 4] * 2


def test_a_failing_call_leaves_the_next_one_whole() -> None:
    layers = [nn.Linear(4, 4) for _ in range(2)]
    expected = layers[1](torch.ones(4)).detach()
    Streamed(layers, CPU, SlowCopies())
    with pytest.raises(RuntimeError):
        layers[0](torch.ones(5))
    torch.testing.assert_close(layers[1](torch.ones(4)), expected, atol=0, rtol=0)


def test_streamed_blocks_can_be_compiled() -> None:
    torch.compiler.reset()
    original = networks(TINY, CPU, torch.float32)
    placed = twin(original)
    place(placed, EVERYTHING, CPU, SlowCopies)
    compile_blocks(placed.transformer, Compiler(backend="eager"))
    with Compilations() as compiled:
        for _ in range(2):
            assert relative_error(_both(placed)[1], _both(original)[1]) <= 1e-6
    assert compiled.count == 2
