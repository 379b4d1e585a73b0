from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from bench.gpu.networks import TINY, networks, twin
from bildwerk.engine.gpu.graph_backend import Recording, RepeatedRuns
from bildwerk.engine.gpu.graphs import graph_transformer, stack_of, unstack
from bildwerk.engine.gpu.recorder import BatchAxes, Graphed, Recorder
from tests.engine.velocity import inputs, relative_error

ROWS = BatchAxes((0, 0))
CPU = torch.device("cpu")


class CountedRuns(RepeatedRuns):
    def __init__(self) -> None:
        self.recordings = self.replays = 0

    def record(self, run) -> Recording:
        self.recordings += 1
        made = super().record(run)

        def replay() -> None:
            self.replays += 1
            made.replay()

        return Recording(replay, made.output)


def _sum(a: Tensor, b: Tensor) -> Tensor:
    return a + b


def test_each_shape_is_recorded_once_and_replayed_with_new_content() -> None:
    backend = CountedRuns()
    graphed = Graphed(_sum, Recorder(backend), ROWS)
    for size in (2, 3, 2, 3, 2):
        a, b = torch.randn(size), torch.randn(size)
        torch.testing.assert_close(graphed(a, b), a + b, atol=0, rtol=0)
    assert backend.recordings == 2


def test_a_type_is_part_of_the_shape() -> None:
    backend = CountedRuns()
    graphed = Graphed(_sum, Recorder(backend), ROWS)
    graphed(torch.ones(2), torch.ones(2))
    assert graphed(torch.ones(2).bfloat16(), torch.ones(2).bfloat16()).dtype == torch.bfloat16
    assert backend.recordings == 2


def test_an_output_is_not_overwritten_by_the_next_call() -> None:
    graphed = Graphed(_sum, Recorder(RepeatedRuns()), ROWS)
    first = graphed(torch.tensor([1.0]), torch.tensor([1.0]))
    second = graphed(torch.tensor([5.0]), torch.tensor([5.0]))
    assert (first.item(), second.item()) == (2.0, 10.0)


def test_the_callers_inputs_are_left_alone() -> None:
    graphed = Graphed(_sum, Recorder(RepeatedRuns()), ROWS)
    a = torch.tensor([1.0])
    graphed(a, a)
    graphed(torch.tensor([7.0]), torch.tensor([7.0]))
    assert a.item() == 1.0


def test_beyond_the_limit_it_runs_plainly_and_counts() -> None:
    recorder = Recorder(CountedRuns(), max_graphs=1)
    graphed = Graphed(_sum, recorder, ROWS)
    for size in (1, 2, 3, 1):
        x = torch.ones(1, size)
        assert graphed(x, x).tolist() == [[2.0] * size]
    assert (recorder.recorded, recorder.plain_runs) == (1, 2)


def test_once_sealed_nothing_is_recorded_and_strange_shapes_run_plainly() -> None:
    entered = []

    @contextmanager
    def plainly():
        entered.append(1)
        yield

    backend = CountedRuns()
    recorder = Recorder(backend, plainly)
    graphed = Graphed(_sum, recorder, ROWS)
    known, strange = torch.ones(1, 2), torch.ones(1, 5)
    graphed(known, known)
    recorder.seal()
    assert graphed(strange, strange).tolist() == [[2.0] * 5]
    assert graphed(known, known).tolist() == [[2.0] * 2]
    assert (backend.recordings, recorder.plain_runs, len(entered)) == (1, 1, 1)


@pytest.mark.parametrize(("recorded", "asked", "replays"), [((1,), 3, 3), ((1, 4), 6, 3), ((1, 2, 4), 7, 3)])
def test_a_batch_that_was_not_recorded_is_replayed_in_parts_that_were(
    recorded: tuple[int, ...], asked: int, replays: int
) -> None:
    backend = CountedRuns()
    recorder = Recorder(backend)
    graphed = Graphed(lambda a, b: a + b.T, recorder, BatchAxes((0, 1)))
    for size in recorded:
        graphed(torch.randn(size, 2), torch.randn(2, size))
    recorder.seal()
    a, b = torch.randn(asked, 2), torch.randn(2, asked)
    backend.replays = 0
    torch.testing.assert_close(graphed(a, b), a + b.T, atol=0, rtol=0)
    assert (backend.replays, recorder.plain_runs) == (replays, 0)


@torch.no_grad()
def test_a_steps_modulation_survives_being_stacked() -> None:
    model = networks(TINY, CPU, torch.float32).transformer
    step = model.modulation(torch.full((1, 2), 0.5), torch.randn(2, 32))[0]
    stack = stack_of(step)
    again = unstack(stack, model.params)
    assert stack.shape == (2 * 12 + 3 * 3 + 2, 2, 1, 64)
    for given, kept in zip(step.double_blocks, again.double_blocks, strict=True):
        for a, b in zip(given, kept, strict=True):
            torch.testing.assert_close(list(a), list(b), atol=0, rtol=0)
    for one, other in zip(step.single_blocks, again.single_blocks, strict=True):
        torch.testing.assert_close(list(one), list(other), atol=0, rtol=0)
    torch.testing.assert_close(list(step.final_layer), list(again.final_layer), atol=0, rtol=0)
    assert stack_of(again) is stack


@torch.no_grad()
def test_a_graphed_transformer_answers_as_the_plain_one_at_every_step() -> None:
    both = networks(TINY, CPU, torch.float32)
    model, graphed, backend = both.transformer, twin(both).transformer, CountedRuns()
    graph_transformer(graphed, Recorder(backend))
    given = inputs(TINY)
    times = torch.tensor([[1.0], [0.75], [0.5]])
    plain, fast = model.modulation(times, given.pooled), graphed.modulation(times, given.pooled)
    for a, b in zip(plain, fast, strict=True):
        expected = model(given.img, given.txt, given.rotary, a)
        assert relative_error(graphed(given.img, given.txt, given.rotary, b), expected) <= 1e-6
        assert relative_error(graphed(given.img, given.txt, given.rotary, a), expected) <= 1e-6
    assert backend.recordings == 2


@torch.no_grad()
def test_the_steps_of_one_prompt_outlive_those_of_the_next() -> None:
    graphed = networks(TINY, CPU, torch.float32).transformer
    graph_transformer(graphed, Recorder(RepeatedRuns()))
    times = torch.tensor([[1.0]])
    first = stack_of(graphed.modulation(times, torch.ones(1, 32))[0])
    kept = first.clone()
    graphed.modulation(times, -torch.ones(1, 32))
    torch.testing.assert_close(first, kept, atol=0, rtol=0)


def test_what_was_recorded_for_inference_can_be_replayed_outside_of_it() -> None:
    graphed = Graphed(_sum, Recorder(RepeatedRuns()), ROWS)
    with torch.inference_mode():
        graphed(torch.ones(2), torch.ones(2))
    with torch.no_grad():
        assert graphed(torch.ones(2), torch.ones(2)).tolist() == [2.0, 2.0]
