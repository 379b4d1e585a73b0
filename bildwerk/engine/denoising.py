"""The denoising loop of a batch whose requests may be cancelled while it runs.

B batch, S steps, L image tokens, C latent channels, h w latent positions, T text tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from bildwerk.engine.batch import Batch
from bildwerk.engine.devices import wait_for
from bildwerk.engine.prompt_encoder import EncodedPrompts
from bildwerk.engine.request import IsCancelled
from bildwerk.flux import sampling
from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.params import TransformerParams
from bildwerk.weights.load import Components

REMEMBERED_SIZES = 16


@dataclass(frozen=True, slots=True)
class Canvas:
    """The pictures in the making: the rows still wanted, what they read, and their latents after `step` steps.

    x_t: B L 4C, float32. height and width are in latent positions.
    """

    batch: Batch
    prompts: EncodedPrompts
    x_t: Tensor
    height: int
    width: int
    step: int = 0

    @property
    def latents(self) -> Tensor:
        """B C h w."""
        return sampling.unpack(self.x_t, self.height, self.width)

    @property
    def is_finished(self) -> bool:
        return self.step == self.batch.steps

    def rows(self, is_cancelled: IsCancelled) -> Iterator["Canvas"]:
        """Each row of a finished canvas as one of its own, unless its request is cancelled when its turn comes."""
        single = (self.select([row]) for row in range(len(self.batch.rows)) if self.is_finished)
        return (canvas for canvas in single if canvas.batch.wanted(is_cancelled))

    def select(self, rows: list[int]) -> "Canvas":
        return replace(self, batch=self.batch.select(rows), prompts=self.prompts.select(rows), x_t=self.x_t[rows])


def blank_canvas(components: Components, batch: Batch, prompts: EncodedPrompts) -> Canvas:
    """The starting noise of every row, from its own seed."""
    params = components.autoencoder.params
    height, width = batch.render_height // params.downscale, batch.render_width // params.downscale
    noise = [sampling.noise(row.seed, params.z_channels, height, width) for row in batch.rows]
    return Canvas(batch, prompts, sampling.pack(torch.cat(noise)).to(prompts.txt.device), height, width)


def denoise(components: Components, canvas: Canvas, is_cancelled: IsCancelled) -> Iterator[Canvas]:
    """The canvas after every step. Where requests were cancelled, the rest goes on as a smaller batch."""
    canvas = canvas.select(canvas.batch.wanted(is_cancelled))
    if canvas.is_finished or not canvas.batch.rows:
        return
    times = sampling.timesteps(canvas.batch.steps, canvas.x_t.shape[1], components.schedule)
    for step in euler_steps(components, canvas, times[canvas.step :]):
        wait_for(step.x_t.device)
        canvas = replace(canvas, x_t=step.x_t, step=canvas.step + 1)
        yield canvas
        if len(canvas.batch.wanted(is_cancelled)) < len(canvas.batch.rows):
            yield from denoise(components, canvas, is_cancelled)
            return


@lru_cache(maxsize=REMEMBERED_SIZES)
def rotary_for(params: TransformerParams, text_tokens: int, height: int, width: int, device: torch.device) -> Tensor:
    """The same for every picture of a size, so it is computed once: (T + L) D/2 2. It is not to be written to."""
    with torch.inference_mode(mode=False):
        return rotary_embedding(sampling.position_ids(text_tokens, height, width), params).to(device)


def euler_steps(components: Components, canvas: Canvas, times: list[float]) -> Iterator[sampling.Step]:
    """The steps between these times, with the modulation of all of them computed at once."""
    model, txt = components.transformer, canvas.prompts.txt
    starts = torch.tensor(times[:-1], device=txt.device).unsqueeze(1).expand(-1, len(txt))  # S B
    guidance = None if canvas.batch.guidance is None else starts.new_full((len(txt),), canvas.batch.guidance)
    return sampling.denoise(
        model,
        canvas.x_t,
        txt=txt,
        rotary=rotary_for(model.params, txt.shape[1], canvas.height, canvas.width, txt.device),
        modulations=model.modulation(starts, canvas.prompts.pooled, guidance),
        times=times,
    )
