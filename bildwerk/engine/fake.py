"""An engine without torch: it paints a plain picture that depends on prompt, seed and LoRAs alone.

The service's tests and a laptop without torch run the real application on it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b

from PIL import Image, ImageDraw

from bildwerk.engine.batch import Batch, Row
from bildwerk.engine.lora_choices import require_present
from bildwerk.engine.request import (
    EngineSpec,
    Event,
    GenerateRequest,
    IsCancelled,
    Progress,
    Warmth,
    never_cancelled,
)
from bildwerk.engine.stopwatch import Stopwatch

PALETTE_BYTES = 9


class FakeEngine:
    """Takes `step_seconds` a step, says everything that the real engine says, and knows no picture."""

    def __init__(
        self, spec: EngineSpec, step_seconds: float = 0.0, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.spec = spec
        self.step_seconds = step_seconds
        self.sleep = sleep

    @property
    def warmth(self) -> Warmth:
        return Warmth()

    def generate(
        self, requests: Sequence[GenerateRequest], is_cancelled: IsCancelled = never_cancelled
    ) -> Iterator[Event]:
        """As `Engine.generate`."""
        asked, clock = Batch.of(self.spec, requests), Stopwatch()
        require_present(self.spec, asked.loras)
        clock.seconds["encode"] = 0.0
        yield Progress("encode", 1, 1)

        batch = asked
        for done, batch in clock.each("denoise", self.denoise(asked, is_cancelled)):
            yield Progress("denoise", done, batch.steps)

        wanted = (row for row in batch.rows if not is_cancelled(row.request.id))
        for done, row in enumerate(wanted, start=1):
            with clock.stage("decode"):
                image = paint(row)
            yield Progress("decode", done, len(batch.rows))
            yield row.finish(self.spec.id, image, clock.seconds)

    def denoise(self, batch: Batch, is_cancelled: IsCancelled) -> Iterator[tuple[int, Batch]]:
        """How many steps are done, and the rows that were still wanted in the last of them."""
        for done in range(1, batch.steps + 1):
            batch = batch.select(batch.wanted(is_cancelled))
            if not batch.rows:
                return
            if self.step_seconds:  # a sleep of no length takes its time, too
                self.sleep(self.step_seconds)
            yield done, batch


def paint(row: Row) -> Image.Image:
    """A sky, a sun and a ground in colors of the hash of the seed, the prompt and the LoRAs."""
    loras = "".join(f"<{lora.name}:{lora.scale}>" for lora in row.request.active_loras)
    digest = blake2b(f"{row.seed}:{row.request.prompt}{loras}".encode(), digest_size=PALETTE_BYTES + 2).digest()
    sky, sun, ground = (tuple(digest[i : i + 3]) for i in range(0, PALETTE_BYTES, 3))
    width, height = row.fitted.render_width, row.fitted.render_height
    x, y = digest[-2] * width // 255, digest[-1] * height // 510
    radius = min(width, height) // 8
    picture = Image.new("RGB", (width, height), sky)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=sun)
    draw.rectangle((0, height * 2 // 3, width, height), fill=ground)
    return picture
