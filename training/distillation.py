"""Teaches the flow to go in four steps where it needed many: each of its steps imitates several of the teacher's.

    python -m training.distillation --minutes 10

The teacher is the trained flow, guided; the student begins as a copy, needs no guidance, and sees only the times that a
picture of `--steps` steps visits. x_t comes from real latents and noise, as in the flow's own training. B batch,
C channels, h w latent positions.
Source: Salimans and Ho, "Progressive distillation for fast sampling of diffusion models" (2022), for straight paths.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from bildwerk.flux import sampling
from training import buckets, loop, studio
from training.buckets import open_buckets
from training.dataset import RUNS
from training.flow import OUTSIDE, UNTOLD, attention_of
from training.loop import Training, begin
from training.painter import Painter, load_painter
from training.studio import progress_sheet


class Teacher:
    """The trained flow with guidance: what the prompt adds to the velocity, `guidance` times.

    Source: Ho and Salimans, "Classifier-free diffusion guidance" (2022).
    """

    def __init__(self, painter: Painter, guidance: float) -> None:
        self.painter = painter
        self.guidance = guidance

    @torch.no_grad()
    def mean_velocity(
        self, x_t: Tensor, t: Tensor, prompts: list[str], options: argparse.Namespace, rotary: Tensor
    ) -> Tensor:
        """From t to one of the student's steps further, in `options.parts` Euler steps. x_t: B L 4C, t: B -> B L 4C."""
        untold = [UNTOLD] * len(prompts)
        condition = self.painter.condition(prompts + untold, options.text_tokens)
        x, way = x_t, 1 / options.steps
        stride = way / options.parts
        for part in range(options.parts):
            now = (t - part * stride).repeat(2)
            velocity = self.painter.velocity(x.repeat(2, 1, 1), now, condition, rotary).float()
            told, untold_velocity = velocity.chunk(2)
            x = x - stride * (untold_velocity + self.guidance * (told - untold_velocity))
        return (x_t - x) / way


def distillation_loss(
    student: Painter, teacher: Teacher, latents: Tensor, prompts: list[str], options: argparse.Namespace
) -> Tensor:
    noise = torch.randn_like(latents)
    t = 1 - torch.randint(options.steps, (len(latents),), device=latents.device) / options.steps
    x_t = sampling.pack(latents + t[:, None, None, None] * (noise - latents))
    with torch.autocast(latents.device.type, torch.bfloat16), attention_of(latents.device):
        rotary = student.rotary(options.text_tokens, *latents.shape[-2:])
        target = teacher.mean_velocity(x_t, t, prompts, options, rotary)
        velocity = student.velocity(x_t, t, student.condition(prompts, options.text_tokens), rotary)
    return F.mse_loss(velocity.float(), target)


def train(options: argparse.Namespace) -> None:
    begin(options)
    source, painter = open_buckets(options), load_painter(options.teacher).to(options.device)
    student = load_painter(options.teacher).to(options.device).train().requires_grad_(True)
    teacher = Teacher(painter, options.guidance)
    training = Training(student, options, OUTSIDE, weight_decay=0.0)
    if options.compile:
        painter.flow.compile(dynamic=False)
        student.flow.compile(dynamic=False)

    def next_loss() -> tuple[Tensor, int]:
        latents, prompts = source.next(training.rng)
        return distillation_loss(student, teacher, latents.to(options.device), prompts, options), len(prompts)

    training.run(next_loss, progress_sheet(options))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    loop.add_options(parser, RUNS / "distilled.pt", minutes=10.0, rate=4e-4, average=0.99, seed=5)
    buckets.add_options(parser, tokens=5000)
    studio.add_options(parser, steps=4)
    parser.add_argument("--teacher", type=Path, default=RUNS / "flow.pt")
    parser.add_argument("--guidance", type=float, default=2.0, help="of the teacher; 1 is none")
    parser.add_argument("--parts", type=int, default=3, help="steps of the teacher for one of the student")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
