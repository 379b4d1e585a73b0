"""Small models written the way the field publishes FLUX: the real keys, head dimension and latent channels.

The weights preserve variance (see `tests.parity.references`).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.flux.sampling import position_ids
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import Target
from bildwerk.weights.layouts import autoencoder_layouts, transformer_layouts
from tests.parity.references import (
    reference_autoencoder,
    reference_clip,
    reference_t5,
    reference_transformer,
    twin_autoencoder,
    twin_clip,
    twin_t5,
    twin_transformer,
)
from tests.parity.tiny_pipeline import clip_tokenizer, clip_vocabulary, t5_tokenizer

TRANSFORMER = TransformerParams(
    vec_in_dim=64, context_in_dim=64, hidden_size=256, num_heads=2, depth=2, depth_single_blocks=2
)
AUTOENCODER = AutoencoderParams(channels=(32, 64), num_res_blocks=1)
T5 = T5Params(vocab_size=128, d_model=64, d_kv=32, d_ff=256, num_layers=2, num_heads=2)
CLIP = ClipParams(
    vocab_size=len(clip_vocabulary()), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=1
)
PREFIXES = {
    "transformer": "model.diffusion_model.",
    "vae": "vae.",
    "clip": "text_encoders.clip_l.transformer.",
    "t5": "text_encoders.t5xxl.transformer.",
}

AS_FLOAT32 = Target(torch.float32)

State = dict[str, Tensor]


@dataclass(frozen=True)
class Model:
    """One model's networks, float32."""

    transformer: Flux
    vae: Autoencoder
    clip: ClipTextEncoder
    t5: T5Encoder

    def states(self) -> dict[str, State]:
        """What single files of each component hold, under the published names."""
        return {
            "transformer": transformer_layouts(TRANSFORMER)[1].export(self.transformer.state_dict()),
            "vae": autoencoder_layouts(AUTOENCODER)[1].export(self.vae.state_dict()),
            "clip": self.clip.state_dict(),
            "t5": self.t5.state_dict(),
        }


def model() -> Model:
    return Model(
        transformer=twin_transformer(reference_transformer(TRANSFORMER), TRANSFORMER),
        vae=twin_autoencoder(reference_autoencoder(AUTOENCODER), AUTOENCODER),
        clip=twin_clip(reference_clip(CLIP), CLIP),
        t5=twin_t5(reference_t5(T5), T5),
    )


def save_tokenizers(folder: Path) -> None:
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    t5_tokenizer().save_pretrained(folder / "tokenizer_2")


def write(path: Path, state: State) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path)
    return path


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def all_in_one(states: dict[str, State]) -> State:
    return {name: tensor for part, state in states.items() for name, tensor in prefixed(PREFIXES[part], state).items()}


def velocity(flux: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
    """What the transformer says to fixed noise, text and times: B L C."""
    assert isinstance(flux, Flux)
    params, generator = flux.params, torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(dtype)  # noqa: E731
    img, txt, pooled = draw(2, 15, params.in_channels), draw(2, 7, params.context_in_dim), draw(2, params.vec_in_dim)
    guidance = torch.tensor([3.5, 1.0]) if params.guidance_embed else None
    (modulation,) = flux.modulation(torch.tensor([[1.0, 0.4]]), pooled, guidance)
    return flux(img, txt, rotary_embedding(position_ids(7, 6, 10), params), modulation)
