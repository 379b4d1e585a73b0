"""Batches of several sizes: each step is of one, and all cost about the same."""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from training.buckets import Bucket, Buckets, parse_bucket
from training.dataset import Size, Split
from training.latents import World
from training.scenes import Scene


def world_of(size: Size, folder: Path) -> World:
    width, height = size
    labels = np.array([Scene(ground="desert", back="none").labels()], np.uint8)
    split = Split(np.zeros((1, height, width, 3), np.uint8), labels)
    return World(torch.ones(1, 32, height // 16, width // 16), torch.zeros(1, dtype=torch.long), split)


def buckets_of(*texts: str) -> Buckets:
    return Buckets([parse_bucket(text) for text in texts], 1040, 40, world_of, Path())


def test_a_bucket_is_read_from_its_size_and_share() -> None:
    assert parse_bucket("384x256=0.2") == Bucket((384, 256), 0.2)
    assert parse_bucket("384x256=0.2").image_tokens == 96


@pytest.mark.parametrize("text", ["384x256", "384=0.2", "wide=0.2", "384x256=much"])
def test_a_text_that_is_no_bucket_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=text):
        parse_bucket(text)


def test_batches_come_in_their_shares_with_as_many_pictures_as_tokens_allow() -> None:
    rng, buckets = np.random.default_rng(0), buckets_of("256x256=3", "512x512=1")
    batches = [buckets.next(rng) for _ in range(400)]
    counts = Counter(tuple(latents.shape) for latents, _ in batches)
    assert set(counts) == {(10, 32, 16, 16), (3, 32, 32, 32)}
    assert 60 < counts[(3, 32, 32, 32)] < 140
    assert all(len(prompts) == len(latents) for latents, prompts in batches)
    assert any("dunes" in prompt.lower() for _, prompts in batches for prompt in prompts)
