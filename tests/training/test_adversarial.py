"""The training against a discriminator."""

from argparse import Namespace
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bildwerk.flux import sampling
from training import adversarial
from training.adversarial import Duel, paint
from training.adversary import Adversary, Drawn
from training.captions import full_caption
from training.discriminator import UNTOLD, Discriminator, Verdict, misreading
from training.painter import Z_CHANNELS, Painter
from training.scenes import ATTRIBUTES, sample
from training.tokens import train

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # autocast, as in training
TEXT_TOKENS = 12
TWO_AT_A_TIME = Namespace(buckets=[None], chances=[1], batches=[2], worlds=[None])


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Painter:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tokenizers")
    train(folder, 400)
    painter = Painter(tokenizers=folder)
    for parameter in painter.parameters():  # the zeros of the beginning would hide what reaches the picture
        torch.nn.init.normal_(parameter, std=0.05)
    return painter


def options(folder: Path) -> Namespace:
    return Namespace(device="cpu", checkpoint=folder / "painter.pt", discriminator_rate=1e-3, penalty=0.5)


def drawn(count: int, shift: float = 0.0) -> Drawn:
    """Latents that say of each attribute which value it has, by the mean of a channel of its own."""
    rng = np.random.default_rng(1)
    scenes = [sample(rng) for _ in range(count)]
    labels = torch.tensor([[1 + label for label in scene.labels()] for scene in scenes])
    latents = 0.1 * torch.randn(count, Z_CHANNELS, 8, 8) + shift
    latents[:, : labels.shape[1]] += labels[:, :, None, None]
    return Drawn(latents, [full_caption(scene, rng) for scene in scenes], labels)


def test_a_picture_of_any_size_gets_a_verdict_on_every_part_and_as_much_on_the_whole() -> None:
    labels = torch.ones(2, len(ATTRIBUTES), dtype=torch.long)
    for height, width in ((16, 16), (16, 24), (32, 32)):
        verdict = Discriminator()(torch.randn(2, Z_CHANNELS, height, width), labels)
        assert verdict.realness.shape == (2, 2 * (height // 2) * (width // 2))
        assert [reading.shape[1] for reading in verdict.readings] == [len(values) for values in ATTRIBUTES.values()]


def test_what_a_prompt_leaves_open_is_not_held_against_the_picture() -> None:
    readings = [torch.zeros(2, len(values)) for values in ATTRIBUTES.values()]
    labels = torch.full((2, len(ATTRIBUTES)), UNTOLD)
    assert misreading(Verdict(torch.zeros(2, 1), readings), labels) == 0
    labels[0, 0] = 1
    readings[0][0] = torch.tensor([0.0, 1.0, 2.0, 3.0])
    expected = -torch.log_softmax(readings[0][0], dim=0)[0]
    torch.testing.assert_close(misreading(Verdict(torch.zeros(2, 1), readings), labels), expected)


def test_it_learns_to_read_and_to_tell_and_goes_on_where_it_was(tmp_path: Path) -> None:
    torch.manual_seed(1)
    adversary, real, made = Adversary(options(tmp_path)), drawn(32), drawn(32, shift=0.5).latents
    assert adversary.is_new
    first = adversary.learn_to_read(real)
    for _ in range(30):
        last = adversary.learn_to_read(real)
    assert last < 0.7 * first
    for _ in range(20):
        right, _ = adversary.learn_to_tell(real, made)
    assert right > 0.9
    adversary.save()
    again = Adversary(options(tmp_path))
    assert not again.is_new
    torch.testing.assert_close(again.losses(real, made), adversary.losses(real, made))


def test_its_losses_reach_the_painter_and_leave_the_discriminator_alone(tmp_path: Path) -> None:
    adversary, real = Adversary(options(tmp_path)), drawn(4)
    painted = torch.randn_like(real.latents, requires_grad=True)
    unreal, misread = adversary.losses(real, painted)
    for loss in (unreal, misread):
        (gradient,) = torch.autograd.grad(loss, painted, retain_graph=True)
        assert gradient.abs().sum() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in adversary.discriminator.parameters())


def test_painting_for_it_is_painting_as_always(painter: Painter) -> None:
    noise = torch.randn(2, Z_CHANNELS, 4, 6)
    prompts = ["a lake", "a red cabin at night"]
    with torch.no_grad():
        painted = paint(painter, prompts, noise, 4, TEXT_TOKENS)
    expected = painter.sample(prompts, noise, 4, TEXT_TOKENS)
    assert (painted - expected).abs().max() < 0.05 * expected.abs().max()  # bfloat16 against float32


def test_every_step_of_the_chain_is_trained(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    velocities: list[Tensor] = []
    velocity = painter.velocity

    def kept(*arguments: Tensor) -> Tensor:
        found = velocity(*arguments)  # type: ignore[arg-type]
        found.retain_grad()
        velocities.append(found)
        return found

    monkeypatch.setattr(painter, "velocity", kept)
    latents = paint(painter, ["a lake"], torch.randn(1, Z_CHANNELS, 4, 4), 3, TEXT_TOKENS)
    sampling.pack(latents).square().sum().backward()
    assert len(velocities) == 3
    assert all(found.grad is not None and found.grad.abs().sum() > 0 for found in velocities)


@pytest.fixture
def duels(painter: Painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Duel]:
    """What each of two replicas begins with."""
    begun: list[Duel] = []

    def train(rank: int) -> None:
        monkeypatch.setenv("RANK", str(rank))
        budget = {"average": 0.9, "seed": 9, "restart_optimizer": False}
        weights = {"reading": 1.0, "ease": 0}
        what = {"teacher": None, "compile": False, "reading_steps": 0, "text_tokens": TEXT_TOKENS}
        adversarial.train(Namespace(**vars(options(tmp_path / str(rank))), **budget, **weights, **what))

    monkeypatch.setattr(adversarial, "load_painter", lambda _teacher: deepcopy(painter))
    monkeypatch.setattr(adversarial, "open_buckets", lambda _options: TWO_AT_A_TIME)
    monkeypatch.setattr(adversarial, "drawn_batch", lambda _world, size, _rng: drawn(size))
    monkeypatch.setattr(adversarial, "progress_sheet", lambda _options: None)
    monkeypatch.setattr(adversarial, "REPORT_EVERY", 1)
    monkeypatch.setattr(
        adversarial.Training, "run", lambda _training, next_loss, _show: begun.append(next_loss.__self__)
    )
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
        train(rank)
    return begun


def test_all_replicas_begin_with_the_same_discriminator(duels: list[Duel]) -> None:
    first, second = (duel.adversary.discriminator.state_dict() for duel in duels)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    assert not np.array_equal(*(duel.rng.random(4) for duel in duels))


def test_the_first_replica_alone_keeps_the_discriminator(duels: list[Duel], monkeypatch: pytest.MonkeyPatch) -> None:
    for rank, duel in enumerate(duels):
        monkeypatch.setenv("RANK", str(rank))
        duel.next_loss()
    assert [duel.adversary.file.exists() for duel in duels] == [True, False]
