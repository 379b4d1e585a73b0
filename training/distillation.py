"""Teaches the flow to go in four steps where it needed many: each of its steps imitates several of the teacher's.

    python -m training.distillation --minutes 10

The teacher is the trained flow; the student begins as a copy and sees only the times that a picture of `--steps` steps
visits. x_t comes from real latents and noise, as in the flow's own training. B batch, C channels, h w latent positions.
Source: Salimans and Ho, "Progressive distillation for fast sampling of diffusion models" (2022), for straight paths.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bildwerk.flux import sampling
from training import replicas
from training.buckets import add_options, open_buckets
from training.checkpoint import Averaged, Schedule, load_checkpoint, save_checkpoint, set_rate
from training.dataset import RUNS
from training.flow import OUTSIDE, attention_of
from training.latents import FOLDER as LATENTS
from training.muon import optimizers
from training.painter import Painter


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
    t = 1 - torch.randint(options.steps, (len(latents),)) / options.steps
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
    rank = replicas.join()
    buckets = open_buckets(options)
    teacher, student = load_teacher(options.teacher), load_teacher(options.teacher).train().requires_grad_(True)
    averaged = Averaged(student, options.average)
    pair = optimizers(student, OUTSIDE, weight_decay=0.0)
    step = load_checkpoint(options.checkpoint, student, averaged, *pair)
    torch.manual_seed(options.seed + 1000 * step + rank)
    rng = np.random.default_rng((options.seed, step, rank))
    if options.compile:
        teacher.flow.compile(dynamic=False)
        student.flow.compile(dynamic=False)
    schedule = Schedule(options.minutes * 60, options.decay)
    seen, began, reported, losses = 0, time.monotonic(), time.monotonic(), []
    while (progress := replicas.agree(schedule.progress())) < 1.0:
        for optimizer in pair:
            set_rate(optimizer, options.rate * schedule.factor(progress))
        pictures, prompts = buckets.next(rng)
        loss = distillation_loss(student, teacher, pictures, prompts, options)
        student.zero_grad()
        loss.backward()
        replicas.average_gradients(student.parameters())
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for optimizer in pair:
            optimizer.step()
        averaged.update(student)
        step, seen = step + 1, seen + len(prompts)
        losses.append(loss.item())
        if rank == 0 and time.monotonic() - reported > options.report:
            speed = seen / (time.monotonic() - began)
            print(f"step {step} loss {np.mean(losses):.4f}, {speed:.1f} pictures/s a replica", flush=True)
            save_checkpoint(options.checkpoint, step, student, averaged, *pair)
            reported, losses = time.monotonic(), []
    if rank == 0:
        save_checkpoint(options.checkpoint, step, student, averaged, *pair)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", type=Path, default=RUNS / "flow.pt")
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "distilled.pt")
    parser.add_argument("--latents", type=Path, default=LATENTS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--report", type=float, default=60.0, help="seconds between checkpoints")
    parser.add_argument("--decay", type=float, default=1.0, help="share of the minutes in which the rate falls")
    parser.add_argument("--compile", action="store_true", help="by Inductor: a minute for each size, then faster")
    parser.add_argument("--steps", type=int, default=4, help="of the student, for a whole picture")
    parser.add_argument("--parts", type=int, default=3, help="steps of the teacher for one of the student")
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--average", type=float, default=0.99)
    parser.add_argument("--text-tokens", type=int, default=64)
    parser.add_argument("--seed", type=int, default=5)
    add_options(parser, tokens=5000)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
