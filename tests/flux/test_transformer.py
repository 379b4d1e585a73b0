"""What the transformer promises beyond its numbers, which tests/parity compares."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bildwerk.flux.attention import apply_rotary, rotary_embedding
from bildwerk.flux.layers import Modulation, timestep_embedding
from bildwerk.flux.params import TransformerParams
from bildwerk.flux.sampling import position_ids
from bildwerk.flux.transformer import Flux
from tests.parity.references import TRANSFORMER, randomize, relative_error

DEV = replace(TRANSFORMER, guidance_embed=True)


def model_and_inputs(params: TransformerParams = TRANSFORMER) -> tuple[Flux, dict[str, Tensor]]:
    model = randomize(Flux(params))
    inputs = {
        "img": torch.randn(2, 15, params.in_channels),
        "txt": torch.randn(2, 4, params.context_in_dim),
        "rotary": rotary_embedding(position_ids(4, 6, 10), params),
    }
    return model, inputs


def modulations(model: Flux, steps: int = 1) -> list:
    guidance = torch.full((2,), 3.5) if model.params.guidance_embed else None
    times = torch.linspace(1, 0.25, steps)[:, None].expand(-1, 2)
    return model.modulation(times, torch.ones(2, model.params.vec_in_dim), guidance)


def test_the_hot_path_computes_no_modulation() -> None:
    model, inputs = model_and_inputs()
    (modulation,) = modulations(model)
    hoisted = [module for module in model.modules() if isinstance(module, Modulation)]
    hoisted += [model.final_layer.adaLN_modulation, model.time_in, model.vector_in]
    calls: list[nn.Module] = []
    for module in hoisted:
        module.register_forward_hook(lambda module, *_: calls.append(module))
    model(**inputs, modulation=modulation)
    assert calls == []
    modulations(model, steps=4)
    assert len(calls) == len(hoisted)  # each matrix once, for all four steps


def test_every_weight_gets_a_gradient() -> None:
    with torch.enable_grad():
        model, inputs = model_and_inputs(DEV)
        model.requires_grad_(True)
        (modulation,) = modulations(model)
        model(**inputs, modulation=modulation).square().mean().backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert without == []


def test_it_compiles_as_one_graph() -> None:
    model, inputs = model_and_inputs()
    (modulation,) = modulations(model)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(**inputs, modulation=modulation), model(**inputs, modulation=modulation))


def test_pictures_of_a_batch_do_not_see_each_other() -> None:
    model, inputs = model_and_inputs()
    (modulation,) = modulations(model)
    changed = inputs | {"img": torch.stack([inputs["img"][0], torch.randn_like(inputs["img"][1])])}
    before, after = model(**inputs, modulation=modulation), model(**changed, modulation=modulation)
    assert relative_error(after[0], before[0]) < 1e-6
    assert relative_error(after[1], before[1]) > 0.1


def test_guidance_is_needed_where_the_model_has_it() -> None:
    with pytest.raises(ValueError, match="needs a guidance scale"):
        Flux(DEV).modulation(torch.ones(1, 2), torch.ones(2, DEV.vec_in_dim))


def test_guidance_is_refused_where_the_model_has_it_not() -> None:
    with pytest.raises(ValueError, match="no guidance input"):
        Flux(TRANSFORMER).modulation(torch.ones(1, 2), torch.ones(2, TRANSFORMER.vec_in_dim), torch.ones(2))


def test_rotary_attention_depends_on_distance_alone() -> None:
    q, k = torch.randn(1, 3, 1, TRANSFORMER.head_dim), torch.randn(1, 3, 1, TRANSFORMER.head_dim)

    def logit(at: tuple[float, ...], other: tuple[float, ...]) -> Tensor:
        turned = [apply_rotary(x, rotary_embedding(torch.tensor([p]), TRANSFORMER)) for x, p in ((q, at), (k, other))]
        return (turned[0] * turned[1]).sum()

    torch.testing.assert_close(logit((0, 3, 8), (0, 1, 3)), logit((0, 102, 45), (0, 100, 40)), rtol=1e-3, atol=1e-3)
    assert (logit((0, 3, 8), (0, 1, 3)) - logit((0, 3, 8), (0, 1, 4))).abs() > 1e-2


def test_time_is_embedded_in_float32_even_for_a_half_precision_model() -> None:
    t = torch.tensor([0.75], dtype=torch.bfloat16)
    assert torch.equal(timestep_embedding(t), timestep_embedding(torch.tensor([0.75])))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_heads": 5}, "not a multiple of num_heads 5"),
        ({"axes_dim": (8, 12, 10)}, "must add up to the head dimension 32"),
        ({"axes_dim": (9, 11, 12)}, "must be even"),
    ],
)
def test_impossible_params_are_refused(changes: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(TRANSFORMER, **changes)
