"""One picture by our networks: token ids in, pixels in the host's memory out; tokenizers cost nothing.

B batch, S steps, T text tokens, L image tokens, H W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.gpu.networks import Networks, Shapes
from bench.gpu.timing import Laps
from bildwerk.engine.compile import Bucket
from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.params import ScheduleParams
from bildwerk.flux.sampling import PATCH, denoise, noise, pack, position_ids, timesteps, unpack

STEPS = 4


@dataclass(frozen=True, slots=True)
class Order:
    """What to paint: token ids of both encoders (B T each, on the device), the size, and the first seed."""

    t5_ids: Tensor
    clip_ids: Tensor
    height: int
    width: int
    seed: int = 0

    @classmethod
    def of(cls, shapes: Shapes, bucket: Bucket, device: torch.device, seed: int = 0) -> "Order":
        generator = torch.Generator().manual_seed(seed)
        t5 = torch.randint(1, shapes.t5.vocab_size, (bucket.batch, shapes.text_tokens), generator=generator)
        clip = torch.randint(1, shapes.clip.vocab_size, (bucket.batch, shapes.clip_tokens), generator=generator)
        return cls(t5.to(device), clip.to(device), bucket.height, bucket.width, seed)


@dataclass(slots=True)
class Painter:
    """A way to run the networks; `steps` of `denoise` are where an engine would report and cancel."""

    networks: Networks
    shapes: Shapes
    device: torch.device
    dtype: torch.dtype
    _rotaries: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @torch.inference_mode()
    def paint(self, order: Order, lap: Callable[[str], object] = lambda _name: None) -> Tensor:
        """Pixels: B 3 H W, uint8, on the host."""
        txt, pooled = self.networks.t5(order.t5_ids), self.networks.clip(order.clip_ids)
        lap("encode")
        latents = self._denoise(order, txt, pooled, lap)
        pixels = self.networks.autoencoder.decode(latents.to(self.dtype))
        lap("decode")
        levels = pixels.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).cpu()
        lap("copy")
        return levels

    def _denoise(self, order: Order, txt: Tensor, pooled: Tensor, lap: Callable[[str], object]) -> Tensor:
        times = timesteps(STEPS, self._tokens(order), ScheduleParams())
        model = self.networks.transformer
        x_t, modulations = self._noise(order), model.modulation(self._times_of_batch(times, len(txt)), pooled)
        rotary = self._rotary(order)
        lap("prepare")
        for step in denoise(model, x_t, txt=txt, rotary=rotary, modulations=modulations, times=times):
            lap("denoise")
            x_t = step.x_t
        return unpack(x_t, *self._latent_sides(order))

    @torch.inference_mode()
    def velocity_for(self, order: Order, txt: Tensor, pooled: Tensor, t: float = 0.75) -> Tensor:
        """Of one step from the starting noise at this time: B L 4C, float32. txt: B T D, pooled: B V."""
        model = self.networks.transformer
        [modulation] = model.modulation(self._times_of_batch([t, 0.0], len(txt)), pooled.to(self.dtype))
        velocity: Tensor = model(self._noise(order).to(self.dtype), txt.to(self.dtype), self._rotary(order), modulation)
        return velocity.float()

    def _latent_sides(self, order: Order) -> tuple[int, int]:
        scale = self.shapes.autoencoder.downscale
        return order.height // scale, order.width // scale

    def _tokens(self, order: Order) -> int:
        height, width = self._latent_sides(order)
        return (height // PATCH) * (width // PATCH)

    def _noise(self, order: Order) -> Tensor:
        """Made by the host while the device reads the prompt: B L 4C, float32."""
        channels, batch = self.shapes.autoencoder.z_channels, len(order.t5_ids)
        rows = [noise(order.seed + row, channels, *self._latent_sides(order)) for row in range(batch)]
        return self._sent(pack(torch.cat(rows)))

    def _rotary(self, order: Order) -> Tensor:
        """The same for every picture of a size, so it is computed once: (T + L) D/2 2."""
        key = self._latent_sides(order)
        if key not in self._rotaries:
            ids = position_ids(self.shapes.text_tokens, *key).to(self.device)
            self._rotaries[key] = rotary_embedding(ids, self.shapes.transformer)
        return self._rotaries[key]

    def _times_of_batch(self, times: list[float], batch: int) -> Tensor:
        """The times that steps start at: S B."""
        return self._sent(torch.tensor(times[:-1])).unsqueeze(1).expand(-1, batch)

    def _sent(self, x: Tensor) -> Tensor:
        """On the device, without waiting for what it does at the moment."""
        return x.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else x

    def laps(self, order: Order, rounds: int) -> dict[str, float]:
        """Seconds of each part of a picture, of the round with the median sum."""
        measured = []
        for _ in range(rounds):
            laps = Laps(self.device)
            self.paint(order, laps)
            measured.append(laps.seconds())
        return sorted(measured, key=lambda seconds: sum(seconds.values()))[rounds // 2]
