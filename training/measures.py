"""What a set of pictures is worth: does it show what was asked, does it look like the world, does it vary?

N pictures, H W pixels, F features, V attributes, P prompts, S seeds of each.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.judge import Judge, guesses, seen
from training.scenes import ATTRIBUTES, Scene

Pictures = NDArray[np.uint8]
ABSENT: tuple[object, ...] = (False, "none")


def is_asked(scene: Scene, name: str) -> bool:
    """Whether a full caption names this attribute: what is there to be seen. Many trees are not counted."""
    value = getattr(scene, name)
    return not (value in ABSENT or (name.endswith("count") and value in (0, "many")))


def adherence(judge: Judge, pictures: Pictures, scenes: list[Scene]) -> dict[str, float]:
    """For each attribute: of the pictures whose scene has it to be seen, the share in which the judge finds it.

    `all` is the share of all attributes together. An attribute that no scene has is nan.
    """
    wanted = torch.tensor([scene.labels() for scene in scenes])
    right = guesses(judge, seen(pictures)) == wanted
    asked = torch.tensor([[is_asked(scene, name) for name in ATTRIBUTES] for scene in scenes])
    shares = {name: float(right[asked[:, i], i].float().mean()) for i, name in enumerate(ATTRIBUTES)}
    return shares | {"all": float(right[asked].float().mean())}


@torch.no_grad()
def features(judge: Judge, pictures: Pictures) -> Tensor:
    """-> N F, of the judge's last layer but one."""
    return torch.cat([judge.features(part) for part in seen(pictures).split(64)])


def frechet_distance(made: Tensor, real: Tensor) -> float:
    """made, real: N F -> squared distance of the two Gaussians fitted to them. It is larger for fewer pictures."""
    first, second = torch.cov(made.T.double()), torch.cov(real.T.double())
    roots = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    means = (made.double().mean(dim=0) - real.double().mean(dim=0)).square().sum()
    return float(means + first.trace() + second.trace() - 2 * roots)


def diversity(of_prompts: Tensor) -> float:
    """of_prompts: P S F -> mean distance of two pictures of one prompt."""
    seeds = of_prompts.shape[1]
    distances = torch.cdist(of_prompts, of_prompts)
    return float(distances.sum(dim=(1, 2)).mean() / (seeds * (seeds - 1)))
