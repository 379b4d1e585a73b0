"""Measures flux-tiny through the ordinary engine: are prompts followed, and do the pictures look like the world's?

    python -m training.evaluate --prompts 64

Adherence is the share of prompts that ask for a thing in whose pictures the judge finds it (so what is not there is not
counted as found); the Fréchet distance compares the judge's features of made and of rendered pictures.
N pictures, H W pixels, F features.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.request import EngineSpec, GeneratedImage, GenerateRequest
from training.captions import full_caption
from training.dataset import RUNS, Split
from training.export import FOLDER
from training.judge import Judge, load_judge, seen
from training.scenes import ATTRIBUTES, Scene, sample
from training.studio import tiled

SHEET_PROMPTS = (
    "A beautiful landscape with mountains and lake",
    "snowy mountains behind a lake with pine trees at sunset",
    "the ocean at night under a starry sky, a sailing boat",
    "a desert with dunes at dawn, clouds in the sky",
    "a cabin in a green meadow with hills on a sunny day",
    "a snow field with pines and snowy mountains by moonlight",
    "a lake with autumn trees and a wooden cabin in the evening",
    "sunset, ocean, clouds",
)


def paint(engine: FluxEngine, prompts: list[str], seeds: list[int], steps: int, side: int) -> NDArray[np.uint8]:
    """-> uint8 N H W 3, in the order of the prompts."""
    pictures: dict[str, NDArray[np.uint8]] = {}
    for start in range(0, len(prompts), 8):
        numbers = range(start, min(start + 8, len(prompts)))
        requests = [GenerateRequest(prompts[n], side, side, steps, seeds[n], id=str(n)) for n in numbers]
        for event in engine.generate(requests):
            if isinstance(event, GeneratedImage):
                pictures[event.request_id] = np.asarray(Image.open(io.BytesIO(event.data)).convert("RGB"))
    return np.stack([pictures[str(n)] for n in range(len(prompts))])


def adherence(judge: Judge, pictures: NDArray[np.uint8], scenes: list[Scene]) -> dict[str, float]:
    """For each attribute: of the pictures whose scene has it to be seen, the share in which the judge finds it."""
    wanted = torch.tensor([scene.labels() for scene in scenes])
    found = torch.stack([logits.argmax(dim=1) for logits in judge(seen(pictures))], dim=1)
    shares = {}
    for number, name in enumerate(ATTRIBUTES):
        asked = torch.tensor([getattr(scene, name) not in (False, "none") for scene in scenes])
        shares[name] = float((found == wanted)[asked, number].float().mean())
    return shares


def frechet_distance(made: Tensor, real: Tensor) -> float:
    """made, real: N F -> squared distance of the two Gaussians fitted to them."""
    first, second = torch.cov(made.T.double()), torch.cov(real.T.double())
    roots = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    means = (made.double().mean(dim=0) - real.double().mean(dim=0)).square().sum()
    return float(means + first.trace() + second.trace() - 2 * roots)


def measure(engine: FluxEngine, options: argparse.Namespace) -> None:
    judge, rng = load_judge(options.judge), np.random.default_rng(options.seed)
    scenes = [sample(rng) for _ in range(options.prompts)]
    prompts = [full_caption(scene, rng) for scene in scenes]
    real = judge.features(seen(np.asarray(Split.open("heldout").pixels)))
    print("| steps |", " | ".join(ATTRIBUTES), "| Fréchet |")
    print("|---|" + "---|" * (len(ATTRIBUTES) + 1))
    for steps in options.steps:
        pictures = paint(engine, prompts, list(range(len(prompts))), steps, options.side)
        shares = adherence(judge, pictures, scenes)
        distance = frechet_distance(judge.features(seen(pictures)), real)
        print(f"| {steps} |", " | ".join(f"{100 * share:.0f} %" for share in shares.values()), f"| {distance:.2f} |")


def contact_sheet(engine: FluxEngine, options: argparse.Namespace) -> None:
    columns = 4
    prompts = [prompt for prompt in SHEET_PROMPTS for _ in range(columns)]
    seeds = list(range(columns)) * len(SHEET_PROMPTS)
    Image.fromarray(tiled(paint(engine, prompts, seeds, 4, options.side), columns)).save(options.sheet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--judge", type=Path, default=RUNS / "judge.pt")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 24])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--sheet", type=Path, default=RUNS / "sheet.png")
    options = parser.parse_args()
    spec = EngineSpec("flux-tiny", options.folder, 256, 256, max_steps=50, max_text_tokens=64, size_multiple=32)
    engine = FluxEngine.load(spec)
    contact_sheet(engine, options)
    measure(engine, options)


if __name__ == "__main__":
    main()
