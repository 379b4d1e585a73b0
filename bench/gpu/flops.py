"""The arithmetic in one picture, counted by running the networks on shapes alone.

Two operations a multiply-add; matrix products, attention and convolutions only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.gpu.networks import Shapes, on_meta
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux

META = torch.device("meta")


@dataclass(frozen=True, slots=True)
class Flops:
    """Of one picture's parts; `step` without the modulation, which is computed once a prompt."""

    step: int
    modulation: int
    t5: int
    clip: int
    decode: int

    def picture(self, steps: int) -> int:
        return steps * self.step + self.modulation + self.t5 + self.clip + self.decode


@lru_cache(maxsize=32)
def count(shapes: Shapes, height: int, width: int, batch: int = 1, steps: int = 4) -> Flops:
    """height and width are in pixels."""
    params, scale = shapes.transformer, shapes.autoencoder.downscale
    flux = on_meta(lambda: Flux(params), torch.bfloat16)
    tokens = (height // scale // 2) * (width // scale // 2)
    img = torch.empty(batch, tokens, params.in_channels, device=META, dtype=torch.bfloat16)
    txt = torch.empty(batch, shapes.text_tokens, params.context_in_dim, device=META, dtype=torch.bfloat16)
    rotary = torch.empty(tokens + shapes.text_tokens, params.head_dim // 2, 2, device=META)
    times, pooled = torch.empty(steps, batch, device=META), txt.new_empty(batch, params.vec_in_dim)
    modulation = flux.modulation(times, pooled)[0]
    latents = txt.new_empty(batch, shapes.autoencoder.z_channels, height // scale, width // scale)
    decode = on_meta(lambda: Autoencoder(shapes.autoencoder), torch.bfloat16).decode
    return Flops(
        step=_counted(lambda: flux(img, txt, rotary, modulation)),
        modulation=_counted(lambda: flux.modulation(times, pooled)),
        t5=_text(on_meta(lambda: T5Encoder(shapes.t5), torch.bfloat16), batch, shapes.text_tokens),
        clip=_text(on_meta(lambda: ClipTextEncoder(shapes.clip), torch.bfloat16), batch, shapes.clip_tokens),
        decode=_counted(lambda: decode(latents)),
    )


def _text(encoder: torch.nn.Module, batch: int, tokens: int) -> int:
    ids = torch.zeros(batch, tokens, dtype=torch.long, device=META)
    return _counted(lambda: encoder(ids))


def _counted(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return int(counter.get_total_flops())
