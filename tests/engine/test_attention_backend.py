import pytest
import torch
from torch import Tensor

from bench.gpu.networks import TINY, on_meta
from bildwerk.engine.attention_backend import Candidate, candidates, choose, fastest, matmul_attention, use
from bildwerk.flux.attention import attention
from bildwerk.flux.layers import DoubleStreamBlock, SingleStreamBlock
from bildwerk.flux.transformer import Flux

CPU = torch.device("cpu")
SHAPE = (2, 3, 20, 16)


def _wrong(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention(q, k, v) * 1.1


def _not_a_number(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attention(q, k, v) * float("nan")


def _refuses(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    raise RuntimeError("no kernel for this\nand more")


def _seconds(*given: float):
    remaining = iter(given)
    return lambda _run: next(remaining)


def test_the_fastest_correct_candidate_is_chosen() -> None:
    among = [Candidate("slow", attention), Candidate("fast", matmul_attention)]
    choice = choose(SHAPE, torch.float32, among, _seconds(2.0, 1.0), CPU)
    assert choice.candidate.name == "fast"
    assert [trial.seconds for trial in choice.trials] == [2.0, 1.0]


@pytest.mark.parametrize("attend", [_wrong, _not_a_number])
def test_a_candidate_with_a_wrong_result_is_never_timed(attend) -> None:
    among = [Candidate("wrong", attend), Candidate("right", attention)]
    choice = choose(SHAPE, torch.float32, among, _seconds(1.0), CPU)
    assert choice.candidate.name == "right"
    assert "off by" in choice.trials[0].refusal


def test_a_candidate_that_cannot_run_says_why() -> None:
    choice = choose(SHAPE, torch.float32, [Candidate("no", _refuses), Candidate("yes", attention)], _seconds(1.0), CPU)
    assert choice.candidate.name == "yes"
    assert choice.trials[0].refusal == "no kernel for this"


def test_where_none_works_all_reasons_are_given() -> None:
    with pytest.raises(RuntimeError, match="no: no kernel for this"):
        choose(SHAPE, torch.float32, [Candidate("no", _refuses)], _seconds(), CPU)


def test_attention_by_matrix_products_is_attention_beyond_one_block_of_queries() -> None:
    q, k, v = torch.randn(3, 1, 2, 1030, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    torch.testing.assert_close(matmul_attention(q, k, v), attention(q, k, v), atol=1e-5, rtol=1e-5)


def test_the_choice_is_remembered_for_its_shape() -> None:
    first = fastest(SHAPE, torch.float32, CPU)
    assert fastest(SHAPE, torch.float32, CPU) is first
    assert fastest((2, 3, 24, 16), torch.float32, CPU) is not first


def test_only_a_part_of_a_long_sequence_is_checked_and_that_finds_the_fault() -> None:
    among = [Candidate("wrong", _wrong), Candidate("right", matmul_attention)]
    choice = choose((1, 3, 600, 8), torch.float32, among, _seconds(1.0), CPU)
    assert choice.candidate.name == "right"


def test_the_processor_has_candidates_that_all_work() -> None:
    choice = choose(SHAPE, torch.bfloat16, candidates(CPU), lambda _run: 1.0, CPU)
    assert [trial.refusal for trial in choice.trials] == ["", ""]


def test_every_block_of_a_model_uses_what_was_chosen() -> None:
    model = on_meta(lambda: Flux(TINY.transformer), torch.float32)
    use(matmul_attention, model)
    blocks = [block for block in model.modules() if isinstance(block, DoubleStreamBlock | SingleStreamBlock)]
    assert len(blocks) == 5
    assert all(block.attend is matmul_attention for block in blocks)
