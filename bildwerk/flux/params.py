"""The numbers that make one FLUX-family checkpoint different from another.

Nothing here knows a model's name: a checkpoint is described by its numbers alone, and the defaults
are those of FLUX.1 [schnell].
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TransformerParams:
    """The rectified-flow transformer. `depth` counts double-stream blocks, `depth_single_blocks` single-stream ones."""

    in_channels: int = 64
    out_channels: int = 64
    vec_in_dim: int = 768
    context_in_dim: int = 4096
    hidden_size: int = 3072
    mlp_ratio: float = 4.0
    num_heads: int = 24
    depth: int = 19
    depth_single_blocks: int = 38
    axes_dim: tuple[int, int, int] = (16, 56, 56)
    theta: int = 10_000
    qkv_bias: bool = True
    guidance_embed: bool = False

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")
        if sum(self.axes_dim) != self.head_dim:
            raise ValueError(f"axes_dim {self.axes_dim} must add up to the head dimension {self.head_dim}")
        if any(dim % 2 for dim in self.axes_dim):
            raise ValueError(f"axes_dim {self.axes_dim} must be even, since rotary embedding turns pairs of channels")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def mlp_hidden_dim(self) -> int:
        return int(self.hidden_size * self.mlp_ratio)


@dataclass(frozen=True, slots=True)
class AutoencoderParams:
    """The KL autoencoder. `channels` has one entry a resolution level, finest first."""

    in_channels: int = 3
    out_channels: int = 3
    channels: tuple[int, ...] = (128, 256, 512, 512)
    num_res_blocks: int = 2
    z_channels: int = 16
    norm_groups: int = 32
    scale_factor: float = 0.3611
    shift_factor: float = 0.1159

    def __post_init__(self) -> None:
        if any(width % self.norm_groups for width in self.channels):
            raise ValueError(f"channels {self.channels} must be multiples of norm_groups {self.norm_groups}")
        if not self.scale_factor:
            raise ValueError("scale_factor must not be 0")

    @property
    def downscale(self) -> int:
        """Pixels a side that one latent position stands for."""
        return 2 ** (len(self.channels) - 1)


@dataclass(frozen=True, slots=True)
class T5Params:
    """The T5 v1.1 encoder (gated GELU, relative position bias in the first layer only)."""

    vocab_size: int = 32_128
    d_model: int = 4096
    d_kv: int = 64
    d_ff: int = 10_240
    num_layers: int = 24
    num_heads: int = 64
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if self.layer_norm_epsilon <= 0:
            raise ValueError(f"layer_norm_epsilon {self.layer_norm_epsilon} must be positive")
        buckets, distance = self.relative_attention_num_buckets, self.relative_attention_max_distance
        if not 4 <= buckets < 4 * distance:
            raise ValueError(
                f"relative_attention_num_buckets {buckets} must be at least 4 and less than four times "
                f"relative_attention_max_distance {distance}"
            )


@dataclass(frozen=True, slots=True)
class ClipParams:
    """The CLIP text encoder, of which FLUX reads the pooled end-of-text state.

    `eos_token_id` 2 is the historical configuration whose end-of-text position is that of the highest token id;
    any other value is searched for literally (transformers keeps both rules for the same reason).
    """

    vocab_size: int = 49_408
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 77
    layer_norm_eps: float = 1e-5
    hidden_act: str = "quick_gelu"
    eos_token_id: int = 2

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.layer_norm_eps <= 0:
            raise ValueError(f"layer_norm_eps {self.layer_norm_eps} must be positive")


@dataclass(frozen=True, slots=True)
class ScheduleParams:
    """Where the timesteps lie. Without `dynamic` they are linear, moved by the constant `shift` (1.0: not at all);
    with it the shift grows from `base_shift` at `base_image_tokens` to `max_shift` at `max_image_tokens`."""

    shift: float = 1.0
    dynamic: bool = False
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_image_tokens: int = 256
    max_image_tokens: int = 4096

    def __post_init__(self) -> None:
        if self.shift <= 0:
            raise ValueError(f"shift {self.shift} must be positive")
        if self.max_image_tokens <= self.base_image_tokens:
            raise ValueError(
                f"max_image_tokens {self.max_image_tokens} must be more than base_image_tokens {self.base_image_tokens}"
            )
