"""The sizes that the painter is trained at: each step takes a batch of one of them.

L image tokens.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from numpy.random import Generator
from torch import Tensor

from training.dataset import Size, parse_size
from training.latents import FOLDER as LATENTS
from training.latents import World, load_world
from training.tokens import T5_TOKENS

PIXELS_PER_TOKEN = 32 * 32
SHARES = ("256x256=0.6", "384x256=0.12", "256x384=0.12", "512x512=0.16")


@dataclass(frozen=True, slots=True)
class Bucket:
    """One size, and how often a step is of it."""

    size: Size
    share: float

    @property
    def image_tokens(self) -> int:
        return self.size[0] * self.size[1] // PIXELS_PER_TOKEN


def parse_bucket(text: str) -> Bucket:
    """`384x256=0.2` -> the size, and the share of the steps. Raises `argparse.ArgumentTypeError`."""
    size, _, share = text.partition("=")
    try:
        return Bucket(parse_size(size), float(share))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no bucket; they look like 384x256=0.2") from None


class Buckets:
    """Batches of as many tokens as `tokens` allows, so that every step costs about the same."""

    def __init__(
        self,
        buckets: Iterable[Bucket],
        tokens: int,
        text_tokens: int,
        load: Callable[[Size, Path], World],
        folder: Path,
    ) -> None:
        self.buckets = tuple(buckets)
        self.worlds = tuple(load(bucket.size, folder) for bucket in self.buckets)
        self.batches = tuple(max(1, tokens // (bucket.image_tokens + text_tokens)) for bucket in self.buckets)
        whole = sum(bucket.share for bucket in self.buckets)
        self.chances = [bucket.share / whole for bucket in self.buckets]

    def next(self, rng: Generator) -> tuple[Tensor, list[str]]:
        """-> latents B C h w of one size, float32, and their captions."""
        index = int(rng.choice(len(self.buckets), p=self.chances))
        return self.worlds[index].batch(self.batches[index], rng)


def add_options(parser: argparse.ArgumentParser, tokens: int) -> None:
    parser.add_argument("--buckets", type=parse_bucket, nargs="+", default=[parse_bucket(text) for text in SHARES])
    parser.add_argument("--tokens", type=int, default=tokens, help="of text and image together, in one batch")
    parser.add_argument("--text-tokens", type=int, default=T5_TOKENS, help="of each caption")
    parser.add_argument("--latents", type=Path, default=LATENTS)
    parser.add_argument("--compile", action="store_true", help="by Inductor: a minute for each size, then faster")


def open_buckets(options: argparse.Namespace) -> Buckets:
    return Buckets(options.buckets, options.tokens, options.text_tokens, load_world, options.latents)
