"""Renders the pictures that everything is trained on, once, into memory-mapped files.

    python -m training.dataset --count 10000 --heldout 512

N pictures, H W pixels. A split is `<name>.pixels.npy` (N H W 3, uint8) and `<name>.labels.npy` (N attributes, uint8).
"""

import argparse
import multiprocessing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.scenes import ATTRIBUTES, Scene, draw, sample

RUNS = Path(__file__).parent / "runs"
SEEDS = {"train": 1, "heldout": 2, "judge": 3}  # three worlds that share no picture


@dataclass(frozen=True, slots=True)
class Split:
    """Pictures and their ground truth."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @classmethod
    def open(cls, name: str, folder: Path = RUNS / "data") -> "Split":
        pixels = np.load(folder / f"{name}.pixels.npy", mmap_mode="r")
        return cls(pixels, np.load(folder / f"{name}.labels.npy"))

    def scene(self, index: int) -> Scene:
        return scene_of(self.labels[index])


def scene_of(labels: NDArray[np.uint8]) -> Scene:
    """The inverse of `Scene.labels`."""
    values = {name: choices[int(label)] for (name, choices), label in zip(ATTRIBUTES.items(), labels, strict=True)}
    return Scene(**values)  # type: ignore[arg-type]


def render_part(folder: Path, name: str, start: int, stop: int) -> None:
    pixels = np.load(folder / f"{name}.pixels.npy", mmap_mode="r+")
    labels = np.load(folder / f"{name}.labels.npy", mmap_mode="r+")
    size = (pixels.shape[2], pixels.shape[1])
    for index in range(start, stop):
        rng = np.random.default_rng((SEEDS[name], index))
        scene = sample(rng)
        pixels[index] = draw(scene, size, rng)
        labels[index] = scene.labels()


def render(folder: Path, name: str, count: int, size: int, processes: int) -> None:
    """Draws a whole split; each picture depends on its own number only, so any share of the work gives the same."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"pixels": (count, size, size, 3), "labels": (count, len(ATTRIBUTES))}
    for kind, shape in shapes.items():
        np.lib.format.open_memmap(folder / f"{name}.{kind}.npy", "w+", np.uint8, shape).flush()
    bounds = np.linspace(0, count, processes + 1).astype(int).tolist()
    with multiprocessing.Pool(processes) as pool:
        pool.starmap(render_part, [(folder, name, a, b) for a, b in pairwise(bounds)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=RUNS / "data")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--heldout", type=int, default=512)
    parser.add_argument("--judge", type=int, default=4_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    for name, count in (("heldout", options.heldout), ("train", options.count), ("judge", options.judge)):
        render(options.folder, name, count, options.size, options.processes)
        print(f"{name}: {count} pictures")


if __name__ == "__main__":
    main()
