"""Measures flux-tiny through the ordinary engine: are prompts followed, and do the pictures look like the world's?

    python -m training.evaluate --prompts 256

Adherence is the share of prompts that ask for a thing in whose pictures the judge finds it; the Fréchet distance
compares the judge's features of made and of drawn pictures, as many of each, and stands beside that of two halves of
the drawn ones; diversity is the mean distance of two seeds' pictures of one prompt, over that of two drawings of one
scene. N pictures, H W pixels.
"""

import argparse
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bildwerk.domain.catalog import load_catalog
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.request import EngineSpec, GeneratedImage, GenerateRequest
from training.captions import full_caption
from training.dataset import NATIVE, RUNS, Size, Split, scene_of, size_name
from training.export import FOLDER
from training.judge import Judge, guesses, load_judge, seen
from training.measures import Pictures, adherence, diversity, features, frechet_distance
from training.scenes import ATTRIBUTES, Scene, draw, sample, sample_heldout
from training.studio import tiled

FRONT_PROMPT = "A beautiful landscape with mountains and lake"
SHEET_PROMPTS = (
    FRONT_PROMPT,
    "snowy mountains behind a lake with pine trees at sunset",
    "the ocean at night under a starry sky, two white sailing boats",
    "a desert with dunes at dawn, clouds in the sky",
    "a red cabin on the left in a green meadow with hills on a sunny day",
    "a snow field with pines and snowy mountains in falling snow",
    "a lake with autumn trees and a blue cabin in the evening",
    "sunset, ocean, clouds, three red boats",
    "mountain lake in fog",
    "a rainy meadow with a single tree on the right",
)
WIDE: Size = (384, 256)
LARGE: Size = (512, 512)
BATCH = 8
VARIED_PROMPTS, VARIED_SEEDS = 16, 8


@dataclass(frozen=True, slots=True)
class Questions:
    """Scenes, and the prompts that ask for everything in them."""

    scenes: list[Scene]
    prompts: list[str]

    @classmethod
    def random(cls, count: int, seed: int, *, held_out: bool = False) -> "Questions":
        rng = np.random.default_rng(seed)
        scenes = [(sample_heldout if held_out else sample)(rng) for _ in range(count)]
        return cls(scenes, [full_caption(scene, rng) for scene in scenes])


def paint(engine: FluxEngine, prompts: Sequence[str], seeds: Sequence[int], steps: int, size: Size) -> Pictures:
    """-> uint8 N H W 3, in the order of the prompts."""
    pictures: dict[str, Pictures] = {}
    for start in range(0, len(prompts), BATCH):
        numbers = range(start, min(start + BATCH, len(prompts)))
        requests = [GenerateRequest(prompts[n], *size, steps, seeds[n], id=str(n)) for n in numbers]
        for event in engine.generate(requests):
            if isinstance(event, GeneratedImage):
                pictures[event.request_id] = np.asarray(Image.open(io.BytesIO(event.data)).convert("RGB"))
    return np.stack([pictures[str(n)] for n in range(len(prompts))])


def print_row(name: str, shares: dict[str, float], distance: str = "") -> None:
    values = ["" if np.isnan(share) else f"{100 * share:.0f} %" for share in shares.values()]
    print(f"| {name} |", " | ".join(values), f"| {distance} |", flush=True)


def measure_adherence(engine: FluxEngine, judge: Judge, options: argparse.Namespace) -> None:
    real = features(judge, Split.open("heldout").pixels)
    count = min(options.prompts, len(real) // 2)
    print(f"Fréchet distance of {count} drawn pictures to {count} others: ", end="")
    print(f"{frechet_distance(real[:count], real[count : 2 * count]):.2f}\n")
    columns = [*ATTRIBUTES, "all"]
    print("| steps, size |", " | ".join(columns), "| Fréchet |")
    print("|---|" + "---|" * (len(columns) + 1))
    questions = Questions.random(count, options.seed)
    for steps in options.steps:
        pictures = paint(engine, questions.prompts, range(count), steps, NATIVE)
        distance = frechet_distance(features(judge, pictures), real[:count])
        print_row(f"{steps}, {size_name(NATIVE)}", adherence(judge, pictures, questions.scenes), f"{distance:.2f}")
    for size in (WIDE, LARGE)[: options.sizes]:
        few = Questions(questions.scenes[: count // 2], questions.prompts[: count // 2])
        pictures = paint(engine, few.prompts, range(count), 4, size)
        print_row(f"4, {size_name(size)}", adherence(judge, pictures, few.scenes))
    unseen = Questions.random(count // 2, options.seed + 1, held_out=True)
    pictures = paint(engine, unseen.prompts, range(count), 4, NATIVE)
    print_row("4, held-out combinations", adherence(judge, pictures, unseen.scenes))


def measure_diversity(engine: FluxEngine, judge: Judge, options: argparse.Namespace) -> None:
    questions = Questions.random(VARIED_PROMPTS, options.seed + 2)
    prompts = [prompt for prompt in questions.prompts for _ in range(VARIED_SEEDS)]
    made = paint(engine, prompts, [n % VARIED_SEEDS for n in range(len(prompts))], 4, NATIVE)
    rng = np.random.default_rng(options.seed)
    drawn = np.stack([draw(scene, NATIVE, rng) for scene in questions.scenes for _ in range(VARIED_SEEDS)])
    shape = (VARIED_PROMPTS, VARIED_SEEDS, -1)
    ours, theirs = (diversity(features(judge, pictures).view(shape)) for pictures in (made, drawn))
    print(f"\ndiversity: {ours:.2f}, {100 * ours / theirs:.0f} % of the drawn world's {theirs:.2f}")


def front_page(engine: FluxEngine, judge: Judge, options: argparse.Namespace) -> None:
    """The prompt that everybody tries first, eight times, at the size that they ask for."""
    seeds = list(options.front_seeds)
    pictures = paint(engine, [FRONT_PROMPT] * len(seeds), seeds, 4, LARGE)
    found = [scene_of(labels.numpy()) for labels in guesses(judge, seen(pictures))]
    right = sum(scene.ground == "lake" and "mountains" in scene.back for scene in found)
    print(f"\n{FRONT_PROMPT}, {size_name(LARGE)}: mountains and a lake in {right} of {len(seeds)}")
    Image.fromarray(tiled(pictures, 4)).save(options.front)


def contact_sheet(engine: FluxEngine, options: argparse.Namespace) -> None:
    columns = 4
    prompts = [prompt for prompt in SHEET_PROMPTS for _ in range(columns)]
    seeds = list(range(columns)) * len(SHEET_PROMPTS)
    Image.fromarray(tiled(paint(engine, prompts, seeds, 4, NATIVE), columns)).save(options.sheet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--judge", type=Path, default=RUNS / "judge.pt")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 24])
    parser.add_argument("--sizes", type=int, default=2, help="how many of 384x256 and 512x512, beside 256x256")
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--sheet", type=Path, default=RUNS / "sheet.png")
    parser.add_argument("--front", type=Path, default=RUNS / "front.png")
    parser.add_argument("--front-seeds", type=int, nargs="+", default=range(8))
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    shipped = load_catalog()["bildwerk/flux-tiny"]
    spec = replace(EngineSpec(shipped.id, options.folder, **asdict(shipped.engine)), max_steps=max(4, *options.steps))
    engine, judge = FluxEngine.load(spec), load_judge(options.judge)
    contact_sheet(engine, options)
    front_page(engine, judge, options)
    measure_adherence(engine, judge, options)
    measure_diversity(engine, judge, options)


if __name__ == "__main__":
    main()
