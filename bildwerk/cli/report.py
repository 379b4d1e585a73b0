"""What a person, or a program, is told while pictures are made.

As text: progress bars and warnings on standard error, one line a picture on standard output.
As JSON: one object a line on standard output, each with an "event":

    {"event": "start", "model", "prompt", "width", "height", "steps", "seed", "images", "loras"}
    {"event": "progress", "stage": "load" | "encode" | "denoise" | "decode", "done", "total"}
    {"event": "warning", "message"}
    {"event": "image", "path", "seed", "width", "height", "bytes", "media_type", "timings": {stage: seconds}}
    {"event": "end", "images", "seconds"}

An error is a line on standard error and the exit code, in both.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from bildwerk.cli.progress_bar import ProgressBar
from bildwerk.cli.standard_output import wants_json, write_json, write_line, write_text
from bildwerk.engine.request import GeneratedImage, GenerateRequest, Progress


class Report(Protocol):
    """`warn` says each sentence once, however many pictures it comes with."""

    def start(self, model: str, request: GenerateRequest) -> None: ...
    def progress(self, progress: Progress) -> None: ...
    def warn(self, messages: Sequence[str]) -> None: ...
    def image(self, path: Path, image: GeneratedImage) -> None: ...
    def end(self, images: int, seconds: float) -> None: ...


class Said:
    """Which sentences were said already."""

    def __init__(self) -> None:
        self._sentences: set[str] = set()

    def new(self, messages: Sequence[str]) -> list[str]:
        fresh = [message for message in messages if message not in self._sentences]
        self._sentences.update(fresh)
        return fresh


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


class JsonReport:
    def __init__(self) -> None:
        self._said = Said()

    def start(self, model: str, request: GenerateRequest) -> None:
        write_json(
            {
                "event": "start",
                "model": model,
                "prompt": request.prompt,
                "width": request.width,
                "height": request.height,
                "steps": request.steps,
                "seed": request.seed,
                "images": request.num_images,
                "loras": [{"name": lora.name, "scale": lora.scale} for lora in request.loras],
            }
        )

    def progress(self, progress: Progress) -> None:
        write_json({"event": "progress", "stage": progress.stage, "done": progress.done, "total": progress.total})

    def warn(self, messages: Sequence[str]) -> None:
        for message in self._said.new(messages):
            write_json({"event": "warning", "message": message})

    def image(self, path: Path, image: GeneratedImage) -> None:
        write_json(
            {
                "event": "image",
                "path": str(path),
                "seed": image.seed,
                "width": image.width,
                "height": image.height,
                "bytes": len(image.data),
                "media_type": image.media_type,
                "timings": {stage: round(seconds, 4) for stage, seconds in image.timings.items()},
            }
        )

    def end(self, images: int, seconds: float) -> None:
        write_json({"event": "end", "images": images, "seconds": round(seconds, 3)})


class TextReport:
    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._said = Said()

    def start(self, model: str, request: GenerateRequest) -> None:
        size, steps = f"{request.width}x{request.height}", counted(request.steps, "step")
        loras = "".join(f", LoRA {lora.name}:{lora.scale:g}" for lora in request.loras)
        self._bar.say(f"{model}, {size}, {steps}, seed {request.seed}{loras}")

    def progress(self, progress: Progress) -> None:
        self._bar.show(progress.stage, progress.done, progress.total)

    def warn(self, messages: Sequence[str]) -> None:
        for message in self._said.new(messages):
            self._bar.say(f"warning: {message}")

    def image(self, path: Path, image: GeneratedImage) -> None:
        self._bar.clear()
        write_text(f"{path}  {image.width}x{image.height}  seed {image.seed}")

    def end(self, images: int, seconds: float) -> None:
        self._bar.clear()
        write_line(f"{counted(images, 'picture')} in {seconds:.1f} s")


@contextmanager
def open_report(json_asked: bool | None) -> Iterator[Report]:
    if wants_json(json_asked):
        yield JsonReport()
        return
    with closing(ProgressBar(sys.stderr)) as bar:
        yield TextReport(bar)
