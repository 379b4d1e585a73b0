"""What every contender reads: one set of random weights and inputs in files, made once and mapped by all.

L image tokens, T text tokens.  The weights preserve variance (see `bench.gpu.networks`): on weights of the usual size
the blocks would do next to nothing and no accuracy could be told, and zeros would even be multiplied faster.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.cpu.files import Files
from bench.gpu.networks import REAL, TINY, Networks, Shapes, on_meta, randomize
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.params import AutoencoderParams, TransformerParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.layouts import autoencoder_layouts
from bildwerk.weights.mapping import Layout

M = TypeVar("M", bound=nn.Module)

TIME = 0.5
"""When one of four steps starts. At 0.75 diffusers would err: in bfloat16 it rounds 750 of 1000 to 752."""
SEED = 20
SHALLOW = replace(REAL, transformer=replace(REAL.transformer, depth=2, depth_single_blocks=4), side=512)
"""FLUX.1 [schnell] at its full width, with the first few blocks of it."""

NARROW = TransformerParams(hidden_size=128, num_heads=1, depth=1, depth_single_blocks=1)


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is; `sides` are those of the pictures whose steps are measured, in pixels."""

    name: str
    shapes: Shapes
    sides: tuple[int, ...]
    copied_bytes: int

    @property
    def decoded_side(self) -> int:
        return self.sides[0]

    def image_tokens(self, side: int) -> int:
        return (side // (2 * self.shapes.autoencoder.downscale)) ** 2


SCALES = {
    "full": Scale("full", SHALLOW, (512, 256), 2**29),
    "tiny": Scale("tiny", TINY, (32, 16), 2**20),
}


@dataclass(frozen=True, slots=True)
class Material:
    """The folder with the files, and the scale that they were made at."""

    folder: Path
    scale: Scale

    @property
    def files(self) -> Files:
        return Files(self.folder)

    def make(self) -> None:
        """Write whatever is not there yet."""
        shapes, files = self.scale.shapes, self.files
        self.folder.mkdir(parents=True, exist_ok=True)
        _once(files.transformer, lambda: _random(lambda: Flux(shapes.transformer), torch.bfloat16, SEED))
        _once(files.autoencoder, self._random_autoencoder)
        _once(files.clip, lambda: _random(lambda: ClipTextEncoder(shapes.clip), torch.float16, SEED + 2))
        _once(files.narrow_transformer, lambda: _random(lambda: Flux(NARROW), torch.bfloat16, SEED + 3))
        for side in self.scale.sides:
            _once(files.inputs(side), lambda side=side: self._random_inputs(side))

    def _random_autoencoder(self) -> dict[str, Tensor]:
        params = self.scale.shapes.autoencoder
        state = _random(lambda: Autoencoder(params), torch.bfloat16, SEED + 1)
        return _original(params).export(state)

    def _random_inputs(self, side: int) -> dict[str, Tensor]:
        params, tokens = self.scale.shapes.transformer, self.scale.image_tokens(side)
        generator = torch.Generator().manual_seed(SEED + side)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).bfloat16()

        latent = side // self.scale.shapes.autoencoder.downscale
        return {
            "img": normal(1, tokens, params.in_channels),
            "txt": normal(1, self.scale.shapes.text_tokens, params.context_in_dim),
            "pooled": normal(1, params.vec_in_dim),
            "latents": normal(1, self.scale.shapes.autoencoder.z_channels, latent, latent),
        }

    def inputs(self, side: int) -> dict[str, Tensor]:
        """img: 1 L 64, txt: 1 T 4096, pooled: 1 768, latents: 1 16 h w; bfloat16."""
        return load_file(self.files.inputs(side))

    def transformer(self) -> Flux:
        """Mapped from its file, so that processes share its memory."""
        return _filled(lambda: Flux(self.scale.shapes.transformer), load_file(self.files.transformer))

    def autoencoder(self) -> Autoencoder:
        params = self.scale.shapes.autoencoder
        module = on_meta(lambda: Autoencoder(params), torch.bfloat16)
        original, theirs = _original(params).expand(module.state_dict()), load_file(self.files.autoencoder)
        state = {row.target: row.to_target([theirs[source] for source in row.sources]) for row in original.rows}
        return _filled(lambda: module, state)

    def networks_to_step(self) -> Networks:
        """The transformer, and of the others no more than what says how large a picture is."""
        like = self.scale.shapes.autoencoder
        thin = AutoencoderParams(channels=(8,) * len(like.channels), norm_groups=8, z_channels=like.z_channels)
        return replace(self._toys(), transformer=self.transformer(), autoencoder=_made(lambda: Autoencoder(thin)))

    def networks_to_decode(self) -> Networks:
        return replace(self._toys(), autoencoder=self.autoencoder())

    def _toys(self) -> Networks:
        return Networks(
            _made(lambda: Flux(TINY.transformer)),
            _made(lambda: T5Encoder(TINY.t5)),
            _made(lambda: ClipTextEncoder(TINY.clip)),
            _made(lambda: Autoencoder(TINY.autoencoder)),
        )


def _made(build: Callable[[], M]) -> M:
    return randomize(on_meta(build, torch.bfloat16).to_empty(device="cpu"), SEED)


def _random(build: Callable[[], nn.Module], dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    return dict(randomize(on_meta(build, dtype).to_empty(device="cpu"), seed).state_dict())


def _filled(build: Callable[[], M], state: Mapping[str, Tensor]) -> M:
    module = on_meta(build, torch.bfloat16)
    module.load_state_dict(state, assign=True)
    return module.eval().requires_grad_(False)


def _original(params: AutoencoderParams) -> Layout:
    return next(layout for layout in autoencoder_layouts(params) if layout.name == "original")


def _once(path: Path, make: Callable[[], Mapping[str, Tensor]]) -> None:
    """A file that was begun and not finished has another name."""
    if not path.exists():
        scratch = path.with_suffix(".part")
        save_file(dict(make()), scratch)
        scratch.replace(path)
