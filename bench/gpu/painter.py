"""One picture by our networks: token ids in, pixels in the host's memory out; tokenizers cost nothing.

B batch, S steps, T text tokens, L image tokens, H W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.gpu.networks import Networks, Shapes
from bench.gpu.timing import Laps
from bildwerk.engine.compile import Bucket
from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.params import ScheduleParams
from bildwerk.flux.sampling import denoise, noise, pack, position_ids, timesteps, unpack

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
        height, width = (side // self.shapes.autoencoder.downscale for side in (order.height, order.width))
        channels = self.shapes.autoencoder.z_channels
        rows = [noise(order.seed + row, channels, height, width) for row in range(len(txt))]
        x_t = pack(torch.cat(rows)).to(self.device, non_blocking=True)
        times = timesteps(STEPS, x_t.shape[1], ScheduleParams())
        model = self.networks.transformer
        modulations = model.modulation(_times_of_batch(times, txt), pooled)
        rotary = rotary_embedding(position_ids(txt.shape[1], height, width).to(self.device), self.shapes.transformer)
        lap("prepare")
        for step in denoise(model, x_t, txt=txt, rotary=rotary, modulations=modulations, times=times):
            lap("denoise")
            x_t = step.x_t
        return unpack(x_t, height, width)

    @torch.inference_mode()
    def velocity(self, order: Order, t: float = 0.75) -> Tensor:
        """Of one step from the starting noise at this time: B L 4C, float32."""
        txt, pooled = self.networks.t5(order.t5_ids), self.networks.clip(order.clip_ids)
        return self.velocity_for(order, txt, pooled, t)

    @torch.inference_mode()
    def velocity_for(self, order: Order, txt: Tensor, pooled: Tensor, t: float = 0.75) -> Tensor:
        """As `velocity`, for a text that is encoded already."""
        height, width = (side // self.shapes.autoencoder.downscale for side in (order.height, order.width))
        channels = self.shapes.autoencoder.z_channels
        rows = [noise(order.seed + row, channels, height, width) for row in range(len(txt))]
        x_t = pack(torch.cat(rows)).to(self.device, self.dtype)
        model = self.networks.transformer
        [modulation] = model.modulation(_times_of_batch([t, 0.0], txt), pooled.to(self.dtype))
        rotary = rotary_embedding(position_ids(txt.shape[1], height, width).to(self.device), self.shapes.transformer)
        velocity: Tensor = model(x_t, txt.to(self.dtype), rotary, modulation)
        return velocity.float()

    def laps(self, order: Order, rounds: int) -> dict[str, float]:
        """Seconds of each part of a picture, of the round with the median sum."""
        measured = []
        for _ in range(rounds):
            laps = Laps(self.device)
            self.paint(order, laps)
            measured.append(laps.seconds())
        return sorted(measured, key=lambda seconds: sum(seconds.values()))[rounds // 2]


def _times_of_batch(times: list[float], txt: Tensor) -> Tensor:
    """The times that steps start at: S B."""
    return torch.tensor(times[:-1], device=txt.device).unsqueeze(1).expand(-1, len(txt))
