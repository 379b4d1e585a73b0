"""Schedule, noise, packing and the Euler loop, against diffusers where it has the same."""

from collections.abc import Sequence

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor, nn

from bildwerk.flux.params import ScheduleParams
from bildwerk.flux.sampling import Step, denoise, noise, pack, position_ids, timesteps, unpack

SCHEDULES = {
    "linear": ScheduleParams(),
    "constant shift": ScheduleParams(shift=3.0),
    "dynamic": ScheduleParams(dynamic=True),
    "dynamic, other ends": ScheduleParams(dynamic=True, base_shift=0.2, max_shift=2.0, max_image_tokens=1024),
}


def test_four_linear_steps() -> None:
    assert timesteps(4, 1024, ScheduleParams()) == [1.0, 0.75, 0.5, 0.25, 0.0]


@pytest.mark.parametrize("steps", [1, 4, 50])
@pytest.mark.parametrize("image_tokens", [64, 4096])
@pytest.mark.parametrize("params", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_timesteps_are_those_of_diffusers(params: ScheduleParams, image_tokens: int, steps: int) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=params.shift, use_dynamic_shifting=params.dynamic)
    bounds = (params.base_image_tokens, params.max_image_tokens, params.base_shift, params.max_shift)
    sigmas = [1 - i / steps for i in range(steps)]
    scheduler.set_timesteps(sigmas=sigmas, mu=calculate_shift(image_tokens, *bounds))
    ours = timesteps(steps, image_tokens, params)
    torch.testing.assert_close(torch.tensor(ours), scheduler.sigmas, rtol=2e-6, atol=0)
    assert len(ours) == steps + 1
    assert ours == sorted(ours, reverse=True)


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_is_an_error(steps: int) -> None:
    with pytest.raises(ValueError, match=f"steps must be at least 1, not {steps}"):
        timesteps(steps, 64, ScheduleParams())


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 1])
def test_noise_is_that_of_diffusers(seed: int) -> None:
    pipeline = FluxPipeline.__new__(FluxPipeline)
    pipeline.vae_scale_factor = 8
    generator = torch.Generator("cpu").manual_seed(seed)
    packed, ids = pipeline.prepare_latents(1, 16, 48, 80, torch.float32, torch.device("cpu"), generator)
    assert torch.equal(pack(noise(seed, 16, 6, 10)), packed)
    assert torch.equal(position_ids(5, 6, 10), torch.cat([torch.zeros(5, 3), ids]))


def test_packing_can_be_undone() -> None:
    latents = torch.randn(2, 3, 6, 10)
    assert pack(latents).shape == (2, 15, 12)
    assert torch.equal(unpack(pack(latents), 6, 10), latents)


class Recorder(nn.Module):
    """A velocity field that is known: v = 2 x, whatever the condition."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.dtype, object]] = []

    def forward(self, x_t: Tensor, txt: Tensor, rotary: Tensor, modulation: object) -> Tensor:
        self.seen.append((x_t.dtype, modulation))
        return 2 * x_t


def run(model: nn.Module, times: Sequence[float], dtype: torch.dtype = torch.float32) -> list[Step]:
    txt, modulations = torch.zeros(1, 2, 8, dtype=dtype), list("abcdefgh")[: len(times) - 1]
    loop = denoise(model, torch.ones(1, 4, 8, dtype=dtype), txt=txt, rotary=txt, modulations=modulations, times=times)
    return list(loop)


def test_euler_steps_follow_the_velocity() -> None:
    model = Recorder()
    first, second = run(model, [1.0, 0.5, 0.0])
    assert (first.index, first.t, second.index, second.t) == (0, 0.5, 1, 0.0)
    assert first.x_t.unique().tolist() == [0.0]  # 1 + (0.5 - 1) * 2
    assert [modulation for _, modulation in model.seen] == ["a", "b"]


def test_the_estimate_of_the_last_step_is_its_result() -> None:
    *_, last = run(Recorder(), [1.0, 0.9, 0.3, 0.0])
    assert torch.equal(last.estimate, last.x_t)


def test_the_estimate_is_where_the_velocity_leads() -> None:
    first, _ = run(Recorder(), [1.0, 0.75, 0.0])
    assert first.estimate.unique().tolist() == [-1.0]  # 1 - 1 * 2


def test_latents_stay_in_float32_whatever_the_model_computes_in() -> None:
    model = Recorder()
    steps = run(model, [1.0, 0.5, 0.0], torch.bfloat16)
    assert {dtype for dtype, _ in model.seen} == {torch.bfloat16}
    assert {step.x_t.dtype for step in steps} == {torch.float32}


def test_a_caller_who_stops_stops_the_model() -> None:
    model = Recorder()
    txt = torch.zeros(1, 2, 8)
    loop = denoise(
        model, torch.ones(1, 4, 8), txt=txt, rotary=txt, modulations=[None] * 4, times=[1, 0.75, 0.5, 0.25, 0]
    )
    next(loop)
    loop.close()
    assert len(model.seen) == 1


def test_a_modulation_too_few_is_an_error() -> None:
    txt = torch.zeros(1, 2, 8)
    with pytest.raises(ValueError, match="shorter"):
        list(denoise(Recorder(), torch.ones(1, 4, 8), txt=txt, rotary=txt, modulations=[None], times=[1, 0.5, 0]))
