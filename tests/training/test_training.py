"""The trainings' parts: the optimizer, checkpoints, losses that fall, and an export that the engine can load."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.request import EngineSpec
from bildwerk.flux import sampling
from bildwerk.flux.autoencoder import Autoencoder
from training.autoencoder import PARAMS, load_averaged, picture_loss
from training.checkpoint import WARM_UP, Averaged, Schedule, load_checkpoint, save_checkpoint, set_rate
from training.distillation import Teacher, distillation_loss
from training.evaluate import paint
from training.export import export
from training.flow import OUTSIDE, flow_loss
from training.muon import optimizers, orthogonal
from training.painter import FLOW, Painter, load_painter
from training.shipped import begin
from training.tokens import train

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # autocast, as in training
SMALL = replace(FLOW, hidden_size=64, num_heads=2, depth=1, depth_single_blocks=1, axes_dim=(8, 12, 12))


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers")
    train(folder, count=500)
    return folder


def painter_of(tokenizers: Path) -> Painter:
    torch.manual_seed(0)
    painter = Painter(SMALL, tokenizers)
    for parameter in painter.parameters():
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return painter


@pytest.mark.parametrize("shape", [(8, 8), (4, 30), (30, 4)])
def test_an_orthogonalized_matrix_has_singular_values_of_about_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(1)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)).float())
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest(tokenizers: Path) -> None:
    painter = painter_of(tokenizers)
    muon, adamw = (sum(len(g["params"]) for g in o.param_groups) for o in optimizers(painter, OUTSIDE, 0.0))
    assert muon + adamw == len(list(painter.parameters()))
    assert 0 < muon < adamw


def test_a_resumed_training_goes_on_exactly(tmp_path: Path) -> None:
    def steps(model: nn.Module, averaged: Averaged[nn.Module], pair: list[torch.optim.Optimizer], count: int) -> None:
        for number in range(count):
            model.zero_grad()
            model(torch.full((2, 6), number + 1.0)).square().sum().backward()
            for optimizer in pair:
                set_rate(optimizer, 0.01)
                optimizer.step()
            averaged.update(model)

    def fresh() -> tuple[nn.Module, Averaged[nn.Module], list[torch.optim.Optimizer]]:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
        return model, Averaged(model, 0.9), list(optimizers(model, ("1.",), 0.0))

    whole, whole_average, pair = fresh()
    steps(whole, whole_average, pair, 2)
    save_checkpoint(tmp_path / "half.pt", 2, whole, whole_average, *pair)
    steps(whole, whole_average, pair, 2)

    resumed, resumed_average, pair = fresh()
    assert load_checkpoint(tmp_path / "half.pt", resumed, resumed_average, *pair) == 2
    steps(resumed, resumed_average, pair, 2)
    for mine, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    for mine, theirs in zip(resumed_average.model.parameters(), whole_average.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_picture_loss_is_zero_for_the_same_picture_and_sees_a_blur() -> None:
    picture = torch.rand(1, 3, 32, 32)
    blurred = nn.functional.avg_pool2d(picture, 3, stride=1, padding=1)
    assert picture_loss(picture, picture) == 0
    assert picture_loss(blurred, picture) > 0.3


def test_training_on_one_picture_makes_the_flow_loss_fall(tokenizers: Path) -> None:
    painter = painter_of(tokenizers)
    latents = torch.randn(1, 32, 4, 4).expand(8, -1, -1, -1)
    pair = optimizers(painter, OUTSIDE, 0.0)
    losses = []
    for _ in range(40):
        loss = flow_loss(painter, latents, ["a lake"] * 8, text_tokens=8)
        painter.zero_grad()
        loss.backward()
        for optimizer in pair:
            set_rate(optimizer, 5e-3)
            optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_student_that_equals_its_teacher_is_right_only_for_one_unguided_step(tokenizers: Path) -> None:
    painter, latents = painter_of(tokenizers).eval(), torch.randn(4, 32, 4, 4)
    prompts = ["a lake", "night", "snow", "desert"]
    one = Namespace(steps=4, parts=1, text_tokens=8)
    three = Namespace(steps=4, parts=3, text_tokens=8)
    with torch.no_grad():
        assert distillation_loss(painter, Teacher(painter, 1.0), latents, prompts, one) < 1e-5
        assert distillation_loss(painter, Teacher(painter, 1.0), latents, prompts, three) > 1e-4
        assert distillation_loss(painter, Teacher(painter, 3.0), latents, prompts, one) > 1e-4


def test_the_engine_paints_from_an_export_what_the_painter_does(tokenizers: Path, tmp_path: Path) -> None:
    painter = painter_of(tokenizers).bfloat16().float().eval()
    autoencoder = Autoencoder(PARAMS).bfloat16().float().eval()
    export(tmp_path, painter, autoencoder)
    spec = EngineSpec("tiny", tmp_path, max_text_tokens=64, size_multiple=32, dtype="float32")
    engine = FluxEngine.load(spec, "cpu")
    made = paint(engine, ["a lake at night"], seeds=[7], steps=2, size=(64, 64))
    with torch.no_grad():
        latents = painter.sample(["a lake at night"], sampling.noise(7, 32, 4, 4), 2, text_tokens=64)
        wanted = ((autoencoder.decode(latents).clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    assert made.std() > 1
    assert np.abs(made.astype(float) - wanted).max() <= 1


def test_a_training_begins_with_what_ships_and_keeps_the_tokens_that_it_knows(tokenizers: Path, tmp_path: Path) -> None:
    painter, autoencoder = painter_of(tokenizers).bfloat16().float(), Autoencoder(PARAMS).bfloat16().float()
    export(tmp_path / "shipped", painter, autoencoder)
    train(tmp_path / "tokenizers", count=900)  # others than those that ship
    begin(tmp_path / "shipped", tmp_path, tmp_path / "tokenizers")
    now, known = Painter(SMALL, tmp_path / "tokenizers"), painter
    now.load_state_dict(torch.load(tmp_path / "flow.pt", weights_only=True)["averaged"])
    rows = [p.t5_tokenizer.tokenizer.token_to_id("▁lake") for p in (now, known)]
    assert torch.equal(now.t5.shared.weight[rows[0]], known.t5.shared.weight[rows[1]])
    assert torch.equal(now.flow.img_in.weight, known.flow.img_in.weight)
    assert torch.equal(now.clip.text_model.final_layer_norm.weight, known.clip.text_model.final_layer_norm.weight)
    restored = load_averaged(tmp_path / "autoencoder.pt")
    assert torch.equal(restored.decoder.conv_in.weight, autoencoder.decoder.conv_in.weight)


def test_a_schedule_warms_up_stays_and_decays_at_its_end() -> None:
    schedule = Schedule(60, decay=0.25)
    assert schedule.factor(0.0) < 0.05
    assert schedule.factor(2 * WARM_UP) == schedule.factor(0.7) == 1
    assert schedule.factor(0.875) == pytest.approx(0.5)
    assert schedule.factor(1.0) == pytest.approx(1e-3)
    assert Schedule(60, decay=0.0).factor(0.99) == 1


def test_several_checkpoints_of_one_training_become_their_mean(tokenizers: Path, tmp_path: Path) -> None:
    painters = [Painter(tokenizers=tokenizers) for _ in range(2)]
    files = [tmp_path / f"{number}.pt" for number in range(2)]
    for painter, file in zip(painters, files, strict=True):
        torch.save({"averaged": painter.state_dict()}, file)
    found = load_painter(*files, tokenizers=tokenizers)
    for mean, first, second in zip(found.parameters(), *(each.parameters() for each in painters), strict=True):
        torch.testing.assert_close(mean, (first + second) / 2)
