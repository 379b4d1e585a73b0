"""One picture by the engine, stage by stage: a prompt in, pixels in the host's memory out, no file written.

B batch, T text tokens, L image tokens, H W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.gpu.model import STEPS
from bench.gpu.networks import Shapes
from bench.gpu.timing import Laps
from bildwerk.engine.batch import Batch
from bildwerk.engine.buckets import Bucket
from bildwerk.engine.denoising import Canvas, blank_canvas, denoise, euler_steps
from bildwerk.engine.engine import FluxEngine
from bildwerk.engine.prompt_encoder import EncodedPrompts
from bildwerk.engine.request import GenerateRequest, never_cancelled
from bildwerk.weights.load import Components

FIRST_STEP = "first step"
"""With the starting noise, and the modulation of all steps."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to paint: one request a picture, and the token ids that both encoders read (B T each, on the device)."""

    requests: tuple[GenerateRequest, ...]
    t5_ids: Tensor
    clip_ids: Tensor

    @classmethod
    def of(cls, shapes: Shapes, bucket: Bucket, device: torch.device, seed: int = 0) -> "Order":
        generator = torch.Generator().manual_seed(seed)
        known = min(shapes.t5.vocab_size, shapes.clip.vocab_size)
        ids = torch.randint(1, known, (bucket.batch, shapes.text_tokens), generator=generator)
        requests = tuple(
            GenerateRequest(" ".join(map(str, row)), bucket.width, bucket.height, STEPS, seed + index, id=str(index))
            for index, row in enumerate(ids.tolist())
        )
        clip_ids = torch.nn.functional.pad(ids, (0, max(0, shapes.clip_tokens - shapes.text_tokens)))
        return cls(requests, ids.to(device), clip_ids[:, : shapes.clip_tokens].contiguous().to(device))

    @property
    def height(self) -> int:
        return self.requests[0].height

    @property
    def width(self) -> int:
        return self.requests[0].width

    @property
    def seed(self) -> int:
        return self.requests[0].seed


@dataclass(frozen=True, slots=True)
class Painter:
    """`FluxEngine.generate` without progress, cancelling and files: its stages, one after the other."""

    engine: FluxEngine

    @torch.inference_mode()
    def paint(self, order: Order, lap: Callable[[str], object] = lambda _name: None) -> Tensor:
        """Pixels: B 3 H W, uint8, on the host."""
        engine = self.engine
        engine.prompt_encoder.forget()
        batch = Batch.of(engine.spec, order.requests)
        prompts = engine.prompt_encoder.encode(batch.prompts)
        lap("encode")
        blank = canvas = blank_canvas(engine.components, batch, prompts)
        for canvas in denoise(engine.components, blank, never_cancelled):
            lap(FIRST_STEP if canvas.step == 1 else "denoise")
        pictures = [engine.decode(row) for row in canvas.rows(never_cancelled)]
        lap("decode")
        return torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])

    def laps(self, order: Order, rounds: int) -> dict[str, float]:
        """Seconds of each part of a picture, of the round with the median sum."""
        measured = []
        for _ in range(rounds):
            laps = Laps(self.engine.device)
            self.paint(order, laps)
            measured.append(laps.seconds())
        return sorted(measured, key=lambda seconds: sum(seconds.values()))[rounds // 2]


@torch.inference_mode()
def velocity(components: Components, order: Order, engine: FluxEngine, prompts: EncodedPrompts) -> Tensor:
    """Of one step from the starting noise at time 0.75: B L 4C, float32. The components need not be the engine's."""
    canvas: Canvas = blank_canvas(components, Batch.of(engine.spec, order.requests), prompts)
    [step] = euler_steps(components, canvas, [0.75, 0.0])
    return step.velocity
