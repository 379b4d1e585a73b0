"""Trains the flow transformer and both text encoders together, by rectified flow on the cached latents.

    python -m training.flow --minutes 60

x_t = (1 - t) * latents + t * noise, and the velocity is noise - latents. Captions are made anew for every picture that
a step sees, and each step is of one size. B batch, C channels, h w latent positions.
"""

import argparse
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from bildwerk.flux import sampling
from training import buckets, loop, studio
from training.buckets import open_buckets
from training.dataset import RUNS
from training.loop import Training, begin
from training.painter import Painter
from training.studio import progress_sheet

OUTSIDE = ("img_in", "txt_in", "time_in", "vector_in", "mod", "final_layer", "embedding", "shared", "attention_bias")
UNIFORM_SHARE = 0.3
UNTOLD, UNTOLD_SHARE = "", 0.1
"""Some pictures are learned without a caption: what the painter does then, guidance turns away from."""
NOISY = 0.4


def times(batch: int) -> Tensor:
    """Logit-normal, more of them noisy, where the prompt decides most; with a share of uniform ones for both ends."""
    middle = torch.sigmoid(torch.randn(batch) + NOISY)
    return torch.where(torch.rand(batch) < UNIFORM_SHARE, torch.rand(batch), middle)


def attention_of(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU the backward pass of fused attention takes five times as long as its products written out."""
    if device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()


def flow_loss(painter: Painter, latents: Tensor, prompts: list[str], text_tokens: int) -> Tensor:
    height, width = latents.shape[-2:]
    noise = torch.randn_like(latents)
    t = times(len(latents)).to(latents.device)
    x_t = latents + t[:, None, None, None] * (noise - latents)
    with torch.autocast(latents.device.type, torch.bfloat16), attention_of(latents.device):
        condition = painter.condition(prompts, text_tokens)
        rotary = painter.rotary(text_tokens, height, width)
        velocity = painter.velocity(sampling.pack(x_t), t, condition, rotary)
    return F.mse_loss(velocity.float(), sampling.pack(noise - latents))


def train(options: argparse.Namespace) -> None:
    begin(options)
    source, painter = open_buckets(options), Painter().to(options.device)
    training = Training(painter, options, OUTSIDE, weight_decay=0.01)
    if options.compile:
        painter.flow.compile(dynamic=False)

    def next_loss() -> tuple[Tensor, int]:
        latents, prompts = source.next(training.rng)
        prompts = [UNTOLD if training.rng.random() < UNTOLD_SHARE else prompt for prompt in prompts]
        return flow_loss(painter, latents.to(options.device), prompts, options.text_tokens), len(prompts)

    training.run(next_loss, progress_sheet(options))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    loop.add_options(parser, RUNS / "flow.pt", minutes=60.0, rate=7e-4, outer_rate=5e-4)
    buckets.add_options(parser, tokens=7000)
    studio.add_options(parser, steps=8)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
