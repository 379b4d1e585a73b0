"""The same picture by diffusers and transformers, on the very same weights (shared, not copied, wherever possible).

`FluxPipeline` itself is run, on prompts encoded by `T5EncoderModel` and `CLIPTextModel` from the same token ids:
256 text tokens, as [schnell] was trained with; the default of 512 would flatter us.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from bench.gpu.model import STEPS
from bench.gpu.networks import Networks, Shapes
from bench.gpu.painter import Order
from bench.gpu.record import NotHereError, Numbers
from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.params import AutoencoderParams, TransformerParams
from bildwerk.flux.transformer import Flux
from bildwerk.weights.layouts import autoencoder_layouts, clip_layouts, transformer_layouts


@dataclass(slots=True)
class Peer:
    """diffusers' pipeline without tokenizers, and the encoders that it would call."""

    pipeline: Any
    t5: nn.Module
    clip: nn.Module
    device: torch.device

    @torch.inference_mode()
    def paint(self, order: Order) -> Tensor:
        """Pixels: B 3 H W in [0, 1], on the host."""
        seeds = [torch.Generator("cpu").manual_seed(order.seed + row) for row in range(len(order.t5_ids))]
        pixels: Tensor = self.pipeline(
            prompt_embeds=self.t5(order.t5_ids)[0],
            pooled_prompt_embeds=self.clip(order.clip_ids).pooler_output,
            height=order.height,
            width=order.width,
            num_inference_steps=STEPS,
            guidance_scale=0.0,
            generator=seeds,
            output_type="pt",
        ).images
        return pixels.cpu()

    def compile(self, mode: str | None, backend: str) -> None:
        """What diffusers' own guide recommends: the transformer and the decoder, in one graph each."""
        settings: Any = {"fullgraph": True, "mode": mode, "backend": backend, "dynamic": False}
        self.pipeline.transformer.compile(**settings)
        self.pipeline.vae.to(memory_format=torch.channels_last)
        self.pipeline.vae.decode = torch.compile(self.pipeline.vae.decode, **settings)

    def facts(self) -> Numbers:
        return {
            "attention": attention_of(self.pipeline.transformer),
            "t5 attention": str(getattr(self.t5.config, "_attn_implementation", "its own")),
            "text tokens": 256,
        }


def attention_of(transformer: Any) -> str:
    """The processor of diffusers' transformer, and the kernel that it dispatches to."""
    processor = next(iter(transformer.attn_processors.values()))
    return f"{type(processor).__name__}, backend {_attention_backend(processor)}"


def _attention_backend(processor: Any) -> str:
    """What diffusers dispatches to: the processor's own choice, or else the one for all."""
    chosen = getattr(processor, "_attention_backend", None)
    if chosen is not None:
        return str(chosen)
    dispatch: Any = import_module("diffusers.models.attention_dispatch")
    return f"{dispatch._AttentionBackendRegistry.get_active_backend()[0]} (default)"


def peer(networks: Networks, shapes: Shapes, device: torch.device) -> Peer:
    """Raises `NotHereError` where diffusers or transformers are not installed."""
    try:
        diffusers: Any = import_module("diffusers")
    except ImportError as error:
        raise NotHereError(f"diffusers cannot be imported: {error}") from error
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    pipeline = diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False),
        vae=autoencoder_like(networks.autoencoder, shapes.autoencoder),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=transformer_like(networks.transformer, shapes.transformer),
    )
    pipeline.set_progress_bar_config(disable=True)
    return Peer(pipeline, _t5(networks), _clip(networks, device), device)


def transformer_like(ours: Flux, params: TransformerParams) -> nn.Module:
    """diffusers' transformer on the tensors of ours."""
    diffusers: Any = import_module("diffusers")
    with torch.device("meta"):
        theirs = diffusers.FluxTransformer2DModel(
            patch_size=1,
            in_channels=params.in_channels,
            num_layers=params.depth,
            num_single_layers=params.depth_single_blocks,
            attention_head_dim=params.head_dim,
            num_attention_heads=params.num_heads,
            joint_attention_dim=params.context_in_dim,
            pooled_projection_dim=params.vec_in_dim,
            guidance_embeds=params.guidance_embed,
            axes_dims_rope=params.axes_dim,
        )
    return _filled(theirs, transformer_layouts(params)[0].export(ours.state_dict()))


def autoencoder_like(ours: Autoencoder, params: AutoencoderParams) -> nn.Module:
    """diffusers' autoencoder on the tensors of ours."""
    diffusers: Any = import_module("diffusers")
    levels = len(params.channels)
    with torch.device("meta"):
        theirs = diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=params.channels,
            layers_per_block=params.num_res_blocks,
            latent_channels=params.z_channels,
            norm_num_groups=params.norm_groups,
            scaling_factor=params.scale_factor,
            shift_factor=params.shift_factor,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
    return _filled(theirs, autoencoder_layouts(params)[0].export(ours.state_dict()))


def _t5(networks: Networks) -> nn.Module:
    transformers: Any = import_module("transformers")
    with torch.device("meta"):
        config = transformers.T5Config(**asdict(networks.t5.params), feed_forward_proj="gated-gelu")
        theirs = transformers.T5EncoderModel(config)
    state = networks.t5.state_dict()
    return _filled(theirs, state | {"encoder.embed_tokens.weight": state["shared.weight"]})


def _clip(networks: Networks, device: torch.device) -> nn.Module:
    """Not made without memory: it has a buffer of positions that no file holds."""
    transformers: Any = import_module("transformers")
    theirs = transformers.CLIPTextModel(transformers.CLIPTextConfig(**asdict(networks.clip.params))).to(device)
    exports = [layout.export(networks.clip.state_dict()) for layout in clip_layouts()[::-1]]
    wanted = set(theirs.state_dict())
    return _filled(theirs, next(export for export in exports if set(export) >= wanted))


def _filled(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    missing = module.load_state_dict(state, strict=False, assign=True).missing_keys
    if missing:
        raise ValueError(f"{type(module).__name__} lacks {missing[:3]} and {len(missing)} in all")
    return module.eval().requires_grad_(False)
