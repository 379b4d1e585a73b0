"""Teaches the flow to go in four steps where it needed many: each of its steps imitates several of the teacher's.

    python -m training.distillation --minutes 10

The teacher is the trained flow; the student begins as a copy and sees only the times that a picture of `--steps` steps
visits. x_t comes from real latents and noise, as in the flow's own training. B batch, C channels, h w latent positions.
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
from training.flow import OUTSIDE, attention_of
from training.loop import Training, begin
from training.painter import Painter
from training.studio import sample_sheet


@torch.no_grad()
def teach(
    teacher: Painter,
    x_t: Tensor,
    t: Tensor,
    condition: tuple[Tensor, Tensor],
    rotary: Tensor,
    *,
    way: float,
    parts: int,
) -> Tensor:
    """The mean velocity of the teacher from t to t - way, in `parts` Euler steps. x_t: B L 4C, t: B -> B L 4C."""
    x, stride = x_t, way / parts
    for part in range(parts):
        x = x - stride * teacher.velocity(x, t - part * stride, condition, rotary).float()
    return (x_t - x) / way


def distillation_loss(
    student: Painter, teacher: Painter, latents: Tensor, prompts: list[str], options: argparse.Namespace
) -> Tensor:
    noise = torch.randn_like(latents)
    t = 1 - torch.randint(options.steps, (len(latents),), device=latents.device) / options.steps
    x_t = sampling.pack(latents + t[:, None, None, None] * (noise - latents))
    with torch.autocast(latents.device.type, torch.bfloat16), attention_of(latents.device):
        rotary = student.rotary(options.text_tokens, *latents.shape[-2:])
        with torch.no_grad():
            known = teacher.condition(prompts, options.text_tokens)
        target = teach(teacher, x_t, t, known, rotary, way=1 / options.steps, parts=options.parts)
        velocity = student.velocity(x_t, t, student.condition(prompts, options.text_tokens), rotary)
    return F.mse_loss(velocity.float(), target)


def load_teacher(checkpoint: Path) -> Painter:
    teacher = Painter()
    teacher.load_state_dict(torch.load(checkpoint, weights_only=True)["averaged"])
    return teacher.eval().requires_grad_(False)


def train(options: argparse.Namespace) -> None:
    begin(options)
    source, teacher = open_buckets(options), load_teacher(options.teacher).to(options.device)
    student = load_teacher(options.teacher).to(options.device).train().requires_grad_(True)
    training = Training(student, options, OUTSIDE, weight_decay=0.0)
    if options.compile:
        teacher.flow.compile(dynamic=False)
        student.flow.compile(dynamic=False)

    def next_loss() -> tuple[Tensor, int]:
        latents, prompts = source.next(training.rng)
        return distillation_loss(student, teacher, latents.to(options.device), prompts, options), len(prompts)

    training.run(next_loss, lambda averaged: sample_sheet(averaged, options))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    loop.add_options(parser, RUNS / "distilled.pt", minutes=10.0, rate=4e-4, average=0.99, seed=5)
    buckets.add_options(parser, tokens=5000)
    studio.add_options(parser, steps=4)
    parser.add_argument("--teacher", type=Path, default=RUNS / "flow.pt")
    parser.add_argument("--parts", type=int, default=3, help="steps of the teacher for one of the student")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
