"""At full size, on `meta`: our modules take exactly the tensors of the real files."""

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from bildwerk.weights.assign import source_shapes
from bildwerk.weights.layouts import autoencoder_layouts, clip_layouts, t5_layouts, transformer_layouts
from bildwerk.weights.mapping import Layout
from tests.weights.real_keys import real_keys


def on_meta(kind: type[nn.Module], params: object) -> nn.Module:
    with torch.device("meta"):
        return kind(params)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def needed(layout: Layout, module: nn.Module) -> Mapping[str, tuple[int, ...]]:
    return source_shapes(layout.expand(module.state_dict()), module.state_dict())


def test_transformer() -> None:
    module = on_meta(Flux, TransformerParams())
    assert parameters(module) == 11_891_178_560
    assert needed(transformer_layouts(TransformerParams())[0], module) == real_keys("transformer")


def test_autoencoder() -> None:
    module = on_meta(Autoencoder, AutoencoderParams())
    assert parameters(module.decoder) == 49_545_475
    assert needed(autoencoder_layouts(AutoencoderParams())[0], module) == real_keys("vae")


def test_clip() -> None:
    module = on_meta(ClipTextEncoder, ClipParams())
    assert parameters(module) == 123_060_480
    assert needed(clip_layouts()[0], module) == real_keys("text_encoder")


@pytest.mark.parametrize(("layout", "duplicate"), [(0, "encoder.embed_tokens.weight"), (1, "shared.weight")])
def test_t5_by_either_name_of_its_embedding(layout: int, duplicate: str) -> None:
    module = on_meta(T5Encoder, T5Params())
    real = real_keys("text_encoder_2")
    del real[duplicate]
    assert parameters(module) == 4_762_310_656
    assert needed(t5_layouts()[layout], module) == real
    assert duplicate in t5_layouts()[layout].ignored
