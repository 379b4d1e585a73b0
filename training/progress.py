"""What a training shows of itself while it runs: a line of numbers, the curve so far, and a picture.

Files beside the checkpoint, by its name: `<name>.curve.csv` (seconds, step, loss), `<name>.png`.
"""

import csv
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BARS = "▁▂▃▄▅▆▇█"
CURVE_POINTS = 40


class Progress:
    """Of one training; `losses` are gathered between two reports."""

    def __init__(self, checkpoint: Path, every_seconds: float) -> None:
        self.curve_file = checkpoint.with_suffix(".curve.csv")
        self.picture_file = checkpoint.with_suffix(".png")
        self.every_seconds = every_seconds
        self.began = self.reported = time.monotonic()
        self.seen = 0
        self.losses: list[float] = []

    def add(self, loss: float, pictures: int) -> None:
        self.losses.append(loss)
        self.seen += pictures

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self.reported > self.every_seconds

    def report(self, step: int, more: str = "") -> None:
        """Prints the mean loss since the last report, the speed and the curve, and keeps the loss for the next one."""
        self.reported = time.monotonic()
        loss, speed = float(np.mean(self.losses)), self.seen / (self.reported - self.began)
        with self.curve_file.open("a", newline="") as file:
            csv.writer(file).writerow((f"{time.time():.0f}", step, f"{loss:.5f}"))
        losses = read_curve(self.curve_file)
        numbers = [f"step {step}", f"loss {loss:.4f}", *filter(None, [more]), f"{speed:.1f} pictures/s"]
        print(", ".join(numbers), curve(losses), flush=True)
        self.losses = []

    def show(self, pictures: NDArray[np.uint8]) -> None:
        """pictures: uint8 H W 3."""
        Image.fromarray(pictures).save(self.picture_file)


def read_curve(file: Path) -> list[float]:
    with file.open(newline="") as lines:
        return [float(row[2]) for row in csv.reader(lines)]


def curve(values: Sequence[float]) -> str:
    """The last values as bars, from the lowest to the highest of them."""
    last = np.asarray(values[-CURVE_POINTS:])
    low, high = last.min(), last.max()
    heights = (last - low) / (high - low or 1.0) * (len(BARS) - 1)
    return "".join(BARS[round(height)] for height in heights)
