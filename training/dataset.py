"""Renders the pictures that everything is trained on, once, into memory-mapped files.

    python -m training.dataset --name train --size 256x256 --count 16000

N pictures, H W pixels. A split of one size is `<name>.<W>x<H>.pixels.npy` (N H W 3, uint8) and `.labels.npy`
(N attributes, uint8). Its pictures are numbered, and each depends on its own number only.
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
FOLDER = RUNS / "data"
SEEDS = {"train": 1, "heldout": 2, "judge": 3}  # three worlds that share no picture
Size = tuple[int, int]
NATIVE: Size = (256, 256)


@dataclass(frozen=True, slots=True)
class Split:
    """Pictures of one size and their ground truth."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @classmethod
    def open(cls, name: str, size: Size = NATIVE, folder: Path = FOLDER, *, in_memory: bool = False) -> "Split":
        """Random pieces of a mapped file are read slowly again and again where a machine frees its cache early."""
        pixels = np.load(split_file(folder, name, size, "pixels"), mmap_mode=None if in_memory else "r")
        return cls(pixels, np.load(split_file(folder, name, size, "labels")))

    def scene(self, index: int) -> Scene:
        return scene_of(self.labels[index])


def size_name(size: Size) -> str:
    return "{}x{}".format(*size)


def parse_size(text: str) -> Size:
    """`384x256` -> (width, height) in pixels."""
    width, height = text.split("x")
    return int(width), int(height)


def split_file(folder: Path, name: str, size: Size, kind: str) -> Path:
    return folder / f"{name}.{size_name(size)}.{kind}.npy"


def scene_of(labels: NDArray[np.uint8]) -> Scene:
    """The inverse of `Scene.labels`."""
    values = {name: choices[int(label)] for (name, choices), label in zip(ATTRIBUTES.items(), labels, strict=True)}
    return Scene(**values)  # type: ignore[arg-type]


def render_part(folder: Path, name: str, size: Size, start: int, stop: int) -> None:
    pixels = np.load(split_file(folder, name, size, "pixels"), mmap_mode="r+")
    labels = np.load(split_file(folder, name, size, "labels"), mmap_mode="r+")
    for index in range(start, stop):
        rng = np.random.default_rng((SEEDS[name], *size, index))
        scene = sample(rng)
        pixels[index] = draw(scene, size, rng)
        labels[index] = scene.labels()


def render(folder: Path, name: str, size: Size, count: int, processes: int) -> None:
    """Draws a whole split of one size; any share of the work gives the same pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"pixels": (count, size[1], size[0], 3), "labels": (count, len(ATTRIBUTES))}
    for kind, shape in shapes.items():
        np.lib.format.open_memmap(split_file(folder, name, size, kind), "w+", np.uint8, shape).flush()
    bounds = np.linspace(0, count, processes + 1).astype(int).tolist()
    with multiprocessing.Pool(processes) as pool:
        pool.starmap(render_part, [(folder, name, size, a, b) for a, b in pairwise(bounds)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--name", choices=SEEDS, default="train")
    parser.add_argument("--size", type=parse_size, default=NATIVE, help="width x height in pixels")
    parser.add_argument("--count", type=int, default=16_000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    render(options.folder, options.name, options.size, options.count, options.processes)
    print(f"{options.name} {size_name(options.size)}: {options.count} pictures")


if __name__ == "__main__":
    main()
