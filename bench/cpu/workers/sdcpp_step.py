"""One step, or one decoding, by stable-diffusion.cpp: `python -m bench.cpu.workers.sdcpp_step bf16|q8_0|q4_0|decoder`

It is reached through `stable-diffusion-cpp-python`, and its steps only by painting a picture: the picture has many
steps, and its progress callback holds it between two of them.  It gets no T5, and then conditions on 256 text tokens
of zeros, which costs its transformer the same.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from bench.cpu.conversation import AbsentError, Answer, Prepared, converse
from bench.cpu.files import Files

STEPS = 400
"""More than any run will measure."""
DECODER = "decoder"


@dataclass(slots=True)
class Painting:
    """A picture that stands still between its steps; computed on a thread of its own."""

    paint: Callable[..., object]
    _wishes: SimpleQueue[None] = field(default_factory=SimpleQueue)
    _times: SimpleQueue[float] = field(default_factory=SimpleQueue)

    def begin(self) -> None:
        Thread(target=self._paint, daemon=True).start()
        self._times.get(timeout=600)

    def _paint(self) -> None:
        self.paint(sample_steps=STEPS, progress_callback=self._after_step)

    def _after_step(self, _step: int, steps: int, _seconds: float) -> None:
        if steps == STEPS:
            self._times.put(time.perf_counter())
            self._wishes.get()

    def step(self) -> Answer:
        start = time.perf_counter()
        self._wishes.put(None)
        return {"seconds": self._times.get() - start}


@dataclass(slots=True)
class Decoding:
    """A picture of one step by a transformer that takes no time: what comes after the step is the decoder."""

    paint: Callable[..., object]
    _step_ended: float = 0.0

    def decode(self) -> Answer:
        self.paint(sample_steps=1, progress_callback=self._after_step)
        return {"seconds": time.perf_counter() - self._step_ended}

    def _after_step(self, _step: int, steps: int, _seconds: float) -> None:
        if steps == 1 and not self._step_ended:
            self._step_ended = time.perf_counter()


def main() -> None:
    way, folder, scale, side, threads = sys.argv[1:]
    converse(lambda: _prepare(way, Files(Path(folder)), scale, int(side), int(threads)))


def _prepare(way: str, files: Files, scale: str, side: int, threads: int) -> Prepared:
    if scale != "full":
        raise AbsentError("it computes only what is as wide as FLUX")
    library: Any = __import__("stable_diffusion_cpp")
    model = library.StableDiffusion(
        diffusion_model_path=str(files.narrow_transformer if way == DECODER else files.transformer),
        clip_l_path=str(files.clip),
        vae_path=str(files.autoencoder),
        wtype="default" if way == DECODER else way,
        n_threads=threads,
        flash_attn=True,
        diffusion_flash_attn=True,
        vae_decode_only=True,
        verbose=False,
    )

    def paint(**rest: object) -> object:
        return model.generate_image(
            prompt="a lake", width=side, height=side, cfg_scale=1.0, guidance=0.0, sample_method="euler", seed=1, **rest
        )

    facts = {
        "stable-diffusion-cpp-python": version("stable-diffusion-cpp-python"),
        "attention": "flash",
        "threads": threads,
        "system": _system(library),
    }
    if way == DECODER:
        return Prepared(facts, lambda: Decoding(paint).decode())
    painting = Painting(paint)
    painting.begin()
    return Prepared(facts, painting.step)


def _system(library: Any) -> str:
    text: bytes = library.stable_diffusion_cpp.sd_get_system_info()
    return " ".join(text.decode().split())


if __name__ == "__main__":
    main()
