"""Data-parallel training over a few single-threaded processes, which on a CPU beat one process of many threads.

    RANK=0 WORLD_SIZE=2 taskset -c 0 python -m training.autoencoder &
    RANK=1 WORLD_SIZE=2 taskset -c 1 python -m training.autoencoder

Without those variables there is one replica, and every function here does nothing.
"""

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def join() -> None:
    """Joins the group that the environment names, if any."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        distributed.init_process_group("gloo", init_method="tcp://127.0.0.1:29511", rank=rank(), world_size=count)


def agree(value: float) -> float:
    """The first replica's value, for all."""
    if not distributed.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    distributed.broadcast(shared, src=0)
    return float(shared)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces each gradient by its mean over the replicas."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
