"""Makes the pictures of one to four steps look drawn, and show what was asked: the whole chain of steps is trained
against a discriminator, end to end.

    python -m training.adversarial --minutes 60

The painter paints from noise as the engine does. B batch, C channels, h w latent positions.
"""

import argparse
from pathlib import Path

import torch
from numpy.random import Generator
from torch import Tensor

from bildwerk.flux import sampling
from training import buckets, loop, replicas, studio
from training.adversary import Adversary, Drawn
from training.buckets import open_buckets
from training.captions import caption, full_caption
from training.dataset import RUNS
from training.discriminator import UNTOLD
from training.flow import OUTSIDE, attention_of
from training.latents import World
from training.loop import Training, begin
from training.painter import Painter, load_painter
from training.studio import progress_sheet

STEP_SHARES = {1: 0.1, 2: 0.1, 3: 0.1, 4: 0.7}
FULL_SHARE = 0.75
"""Of the captions, these name everything that there is; what the others leave open nobody is held to."""
READING_BATCH = 64
REPORT_EVERY = 20


def drawn_batch(world: World, size: int, rng: Generator) -> Drawn:
    chosen = rng.integers(len(world.latents), size=size)
    prompts, labels = [], []
    for index in chosen:
        scene, is_full = world.split.scene(int(world.numbers[index])), rng.random() < FULL_SHARE
        prompts.append((full_caption if is_full else caption)(scene, rng))
        labels.append([1 + label if is_full else UNTOLD for label in scene.labels()])
    return Drawn(world.latents[chosen].float(), prompts, torch.tensor(labels))


def paint(painter: Painter, prompts: list[str], noise: Tensor, steps: int, text_tokens: int) -> Tensor:
    """noise: B C h w -> latents B C h w, with gradients through every step."""
    height, width = noise.shape[-2:]
    with torch.autocast(noise.device.type, torch.bfloat16), attention_of(noise.device):
        condition, rotary = painter.condition(prompts, text_tokens), painter.rotary(text_tokens, height, width)
        x_t = sampling.pack(noise)
        for step in range(steps):
            t = torch.full((len(prompts),), 1 - step / steps, device=noise.device)
            x_t = x_t - painter.velocity(x_t, t, condition, rotary).float() / steps
    return sampling.unpack(x_t, height, width)


class Duel:
    """Painter and adversary, step by step."""

    def __init__(self, painter: Painter, adversary: Adversary, options: argparse.Namespace, rng: Generator) -> None:
        self.painter, self.adversary, self.options, self.rng = painter, adversary, options, rng
        self.source = open_buckets(options)
        self.rounds = 0

    def learn_to_read(self, steps: int) -> None:
        for _ in range(steps):
            self.adversary.learn_to_read(self._drawn(0, READING_BATCH))

    def next_loss(self) -> tuple[Tensor, int]:
        """-> the painter's loss, which is eased in as long as the adversary is a beginner, and how many pictures."""
        index = int(self.rng.choice(len(self.source.buckets), p=self.source.chances))
        drawn = self._drawn(index, self.source.batches[index])
        steps = int(self.rng.choice(list(STEP_SHARES), p=list(STEP_SHARES.values())))
        noise = torch.randn_like(drawn.latents)
        painted = paint(self.painter, drawn.prompts, noise, steps, self.options.text_tokens)
        right, read = self.adversary.learn_to_tell(drawn, painted)
        unreal, misread = self.adversary.losses(drawn, painted)
        self.rounds += 1
        if self.rounds % REPORT_EVERY == 0 and replicas.rank() == 0:
            self.adversary.save()
            painter = f"painter {unreal.item():.2f}, misread {misread.item():.2f}"
            print(f"discriminator right {100 * right:.0f} %, misread {read:.2f}; {painter}", flush=True)
        share = min(1.0, self.rounds / self.options.ease) ** 4 if self.options.ease else 1.0
        return share * (unreal + self.options.reading * misread), len(drawn.prompts)

    def _drawn(self, index: int, size: int) -> Drawn:
        drawn, device = drawn_batch(self.source.worlds[index], size, self.rng), self.options.device
        return Drawn(drawn.latents.to(device), drawn.prompts, drawn.labels.to(device))


def train(options: argparse.Namespace) -> None:
    begin(options)
    painter = load_painter(options.teacher).to(options.device).train().requires_grad_(True)
    adversary = Adversary(options)  # before what is drawn from here on differs between the replicas
    training = Training(painter, options, OUTSIDE, weight_decay=0.0)
    duel = Duel(painter, adversary, options, training.rng)
    if options.compile:
        painter.flow.compile(dynamic=False)
    if adversary.is_new:
        duel.learn_to_read(options.reading_steps)
    training.run(duel.next_loss, progress_sheet(options))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    loop.add_options(parser, RUNS / "adversarial.pt", minutes=60.0, rate=2e-4, average=0.99, seed=9)
    buckets.add_options(parser, tokens=2300)
    studio.add_options(parser, steps=4)
    parser.add_argument("--teacher", type=Path, default=RUNS / "distilled.pt", help="what the painter begins as")
    parser.add_argument("--discriminator-rate", type=float, default=5e-4)
    parser.add_argument("--penalty", type=float, default=0.5, help="on opinions that change with a little noise")
    parser.add_argument("--reading", type=float, default=1.0, help="weight of what cannot be read off the pictures")
    parser.add_argument("--reading-steps", type=int, default=600, help="first, for a new discriminator alone")
    parser.add_argument("--ease", type=int, default=40, help="steps until the painter's loss counts in full")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
