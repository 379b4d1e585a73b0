"""The four networks of one model, wherever they are held; and by their numbers alone."""

from dataclasses import dataclass
from typing import Protocol

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux


class Networks(Protocol):
    @property
    def transformer(self) -> Flux: ...
    @property
    def t5(self) -> T5Encoder: ...
    @property
    def clip(self) -> ClipTextEncoder: ...
    @property
    def autoencoder(self) -> Autoencoder: ...


@dataclass(frozen=True, slots=True)
class ModelShapes:
    """The four networks, by their numbers."""

    transformer: TransformerParams
    t5: T5Params
    clip: ClipParams
    autoencoder: AutoencoderParams
