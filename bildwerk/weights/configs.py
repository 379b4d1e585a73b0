"""The configuration of each component of a diffusers folder, as Params.

What a file says beyond these settings is ignored; a setting that would ask for a computation that is not implemented
is an error.  The defaults are those of `diffusers` and `transformers`, which leave out a setting that equals them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from bildwerk.flux.clip import ACTIVATIONS
from bildwerk.flux.params import AutoencoderParams, ClipParams, ScheduleParams, T5Params, TransformerParams
from bildwerk.weights.config_file import ConfigFile
from bildwerk.weights.errors import WeightsError

P = TypeVar("P")


def read_transformer(config: ConfigFile) -> TransformerParams:
    config.fixed("patch_size", 1, default=1)
    in_channels = config.width("in_channels", 64)
    num_heads = config.width("num_attention_heads", 24)
    axes_dim = config.widths("axes_dims_rope", (16, 56, 56))
    if len(axes_dim) != 3:
        raise WeightsError(f"{config.path}: axes_dims_rope is {axes_dim}, but must be three numbers")
    return _checked(
        config,
        TransformerParams,
        in_channels=in_channels,
        out_channels=config.width("out_channels", in_channels),
        vec_in_dim=config.width("pooled_projection_dim", 768),
        context_in_dim=config.width("joint_attention_dim", 4096),
        hidden_size=num_heads * config.width("attention_head_dim", 128),
        num_heads=num_heads,
        depth=config.depth("num_layers", 19, minimum=0),
        depth_single_blocks=config.depth("num_single_layers", 38, minimum=0),
        axes_dim=axes_dim,
        guidance_embed=config.flag("guidance_embeds", False),
    )


def read_autoencoder(config: ConfigFile) -> AutoencoderParams:
    config.fixed("act_fn", "silu", default="silu")
    config.fixed("use_quant_conv", False, default=True)
    config.fixed("use_post_quant_conv", False, default=True)
    config.fixed("mid_block_add_attention", True, default=True)
    return _checked(
        config,
        AutoencoderParams,
        in_channels=config.width("in_channels", 3),
        out_channels=config.width("out_channels", 3),
        channels=config.widths("block_out_channels", (64,)),
        num_res_blocks=config.depth("layers_per_block", 1),
        z_channels=config.width("latent_channels", 4),
        norm_groups=config.width("norm_num_groups", 32),
        scale_factor=config.number("scaling_factor", 0.18215),
        shift_factor=config.number("shift_factor", 0.0),
    )


def read_t5(config: ConfigFile) -> T5Params:
    config.fixed("feed_forward_proj", "gated-gelu", default="relu")
    return _checked(
        config,
        T5Params,
        vocab_size=config.width("vocab_size", 32_128),
        d_model=config.width("d_model", 512),
        d_kv=config.width("d_kv", 64),
        d_ff=config.width("d_ff", 2048),
        num_layers=config.depth("num_layers", 6),
        num_heads=config.width("num_heads", 8),
        relative_attention_num_buckets=config.width("relative_attention_num_buckets", 32),
        relative_attention_max_distance=config.width("relative_attention_max_distance", 128),
        layer_norm_epsilon=config.number("layer_norm_epsilon", 1e-6),
    )


def read_clip(config: ConfigFile) -> ClipParams:
    return _checked(
        config,
        ClipParams,
        vocab_size=config.width("vocab_size", 49_408),
        hidden_size=config.width("hidden_size", 512),
        intermediate_size=config.width("intermediate_size", 2048),
        num_hidden_layers=config.depth("num_hidden_layers", 12),
        num_attention_heads=config.width("num_attention_heads", 8),
        max_position_embeddings=config.width("max_position_embeddings", 77),
        layer_norm_eps=config.number("layer_norm_eps", 1e-5),
        hidden_act=config.choice("hidden_act", tuple(ACTIVATIONS), "quick_gelu"),
        eos_token_id=config.token_id("eos_token_id", 49_407),
    )


def read_schedule(config: ConfigFile) -> ScheduleParams:
    config.fixed("num_train_timesteps", 1000, default=1000)
    config.fixed("time_shift_type", "exponential", default="exponential")
    for variation in ("invert_sigmas", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"):
        config.fixed(variation, False, default=False)
    config.fixed("stochastic_sampling", False, default=False)
    config.fixed("shift_terminal", 0.0, default=0.0)
    return _checked(
        config,
        ScheduleParams,
        shift=config.number("shift", 1.0),
        dynamic=config.flag("use_dynamic_shifting", False),
        base_shift=config.number("base_shift", 0.5),
        max_shift=config.number("max_shift", 1.15),
        base_image_tokens=config.width("base_image_seq_len", 256),
        max_image_tokens=config.width("max_image_seq_len", 4096),
    )


def _checked(config: ConfigFile, make: Callable[..., P], **fields: Any) -> P:
    """The Params, whose own rules are then the file's fault."""
    try:
        return make(**fields)
    except ValueError as error:
        raise WeightsError(f"{config.path}: {error}") from error
