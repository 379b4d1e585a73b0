"""The tables between the files that the field has and the modules here.

The modules bear the names of the original FLUX.1 release (transformer, autoencoder) and of `transformers` (text
encoders), so those layouts are mere identity; the tables for the `diffusers` layout were read off
`FluxTransformer2DModel` and `AutoencoderKL`.
"""

from collections.abc import Iterable

from bildwerk.flux.params import AutoencoderParams, TransformerParams
from bildwerk.weights.mapping import Layout, Operation, Row

CONCATENATE, SWAP_HALVES = Operation.CONCATENATE, Operation.SWAP_HALVES
SAME_NAME = Row("@", ("@",))


def transformer_layouts(params: TransformerParams) -> tuple[Layout, ...]:
    rows = (*_embedders(), *_double_blocks(params), *_single_blocks(params))
    return Layout("diffusers", rows), Layout("original", (SAME_NAME,))


def _embedders() -> tuple[Row, ...]:
    return (
        Row("img_in.*", ("x_embedder.*",)),
        Row("txt_in.*", ("context_embedder.*",)),
        Row("time_in.in_layer.*", ("time_text_embed.timestep_embedder.linear_1.*",)),
        Row("time_in.out_layer.*", ("time_text_embed.timestep_embedder.linear_2.*",)),
        Row("vector_in.in_layer.*", ("time_text_embed.text_embedder.linear_1.*",)),
        Row("vector_in.out_layer.*", ("time_text_embed.text_embedder.linear_2.*",)),
        Row("guidance_in.in_layer.*", ("time_text_embed.guidance_embedder.linear_1.*",)),
        Row("guidance_in.out_layer.*", ("time_text_embed.guidance_embedder.linear_2.*",)),
        Row("final_layer.linear.*", ("proj_out.*",)),
        Row("final_layer.adaLN_modulation.1.*", ("norm_out.linear.*",), SWAP_HALVES),
    )


def _double_blocks(params: TransformerParams) -> tuple[Row, ...]:
    ours, theirs = "double_blocks.#", "transformer_blocks.#"
    qkv = tuple(f"{theirs}.attn.to_{part}.*" for part in "qkv")
    added_qkv = tuple(f"{theirs}.attn.add_{part}_proj.*" for part in "qkv")
    sizes = (params.hidden_size,) * 3
    return (
        Row(f"{ours}.img_mod.lin.*", (f"{theirs}.norm1.linear.*",)),
        Row(f"{ours}.img_attn.qkv.*", qkv, CONCATENATE, sizes),
        Row(f"{ours}.img_attn.norm.query_norm.scale", (f"{theirs}.attn.norm_q.weight",)),
        Row(f"{ours}.img_attn.norm.key_norm.scale", (f"{theirs}.attn.norm_k.weight",)),
        Row(f"{ours}.img_attn.proj.*", (f"{theirs}.attn.to_out.0.*",)),
        Row(f"{ours}.img_mlp.0.*", (f"{theirs}.ff.net.0.proj.*",)),
        Row(f"{ours}.img_mlp.2.*", (f"{theirs}.ff.net.2.*",)),
        Row(f"{ours}.txt_mod.lin.*", (f"{theirs}.norm1_context.linear.*",)),
        Row(f"{ours}.txt_attn.qkv.*", added_qkv, CONCATENATE, sizes),
        Row(f"{ours}.txt_attn.norm.query_norm.scale", (f"{theirs}.attn.norm_added_q.weight",)),
        Row(f"{ours}.txt_attn.norm.key_norm.scale", (f"{theirs}.attn.norm_added_k.weight",)),
        Row(f"{ours}.txt_attn.proj.*", (f"{theirs}.attn.to_add_out.*",)),
        Row(f"{ours}.txt_mlp.0.*", (f"{theirs}.ff_context.net.0.proj.*",)),
        Row(f"{ours}.txt_mlp.2.*", (f"{theirs}.ff_context.net.2.*",)),
    )


def _single_blocks(params: TransformerParams) -> tuple[Row, ...]:
    ours, theirs = "single_blocks.#", "single_transformer_blocks.#"
    qkv_mlp = (*(f"{theirs}.attn.to_{part}.*" for part in "qkv"), f"{theirs}.proj_mlp.*")
    sizes = (*(params.hidden_size,) * 3, params.mlp_hidden_dim)
    return (
        Row(f"{ours}.modulation.lin.*", (f"{theirs}.norm.linear.*",)),
        Row(f"{ours}.linear1.*", qkv_mlp, CONCATENATE, sizes),
        Row(f"{ours}.linear2.*", (f"{theirs}.proj_out.*",)),
        Row(f"{ours}.norm.query_norm.scale", (f"{theirs}.attn.norm_q.weight",)),
        Row(f"{ours}.norm.key_norm.scale", (f"{theirs}.attn.norm_k.weight",)),
    )


def autoencoder_layouts(params: AutoencoderParams) -> tuple[Layout, ...]:
    rows = (*_encoder(), *_decoder(params))
    return Layout("diffusers", rows), Layout("original", (*_original_attention(), SAME_NAME))


def _encoder() -> Iterable[Row]:
    yield from _level("encoder", "down", "down_blocks", "#", "#")
    yield Row("encoder.down.#.downsample.conv.*", ("encoder.down_blocks.#.downsamplers.0.conv.*",))
    yield from _ends_and_middle("encoder")


def _decoder(params: AutoencoderParams) -> Iterable[Row]:
    """The original counts the decoder's levels from the finest, diffusers from the coarsest."""
    for level in range(len(params.channels)):
        theirs = len(params.channels) - 1 - level
        yield from _level("decoder", "up", "up_blocks", str(level), str(theirs))
        sources = (f"decoder.up_blocks.{theirs}.upsamplers.0.conv.*",)
        yield Row(f"decoder.up.{level}.upsample.conv.*", sources)
    yield from _ends_and_middle("decoder")


def _level(half: str, ours: str, theirs: str, our_level: str, their_level: str) -> Iterable[Row]:
    target, source = f"{half}.{ours}.{our_level}.block.#", f"{half}.{theirs}.{their_level}.resnets.#"
    for layer in ("norm1", "conv1", "norm2", "conv2"):
        yield Row(f"{target}.{layer}.*", (f"{source}.{layer}.*",))
    yield Row(f"{target}.nin_shortcut.*", (f"{source}.conv_shortcut.*",))


def _ends_and_middle(half: str) -> Iterable[Row]:
    for layer in ("conv_in", "conv_out"):
        yield Row(f"{half}.{layer}.*", (f"{half}.{layer}.*",))
    yield Row(f"{half}.norm_out.*", (f"{half}.conv_norm_out.*",))
    for ours, theirs in (("block_1", "resnets.0"), ("block_2", "resnets.1")):
        for layer in ("norm1", "conv1", "norm2", "conv2"):
            yield Row(f"{half}.mid.{ours}.{layer}.*", (f"{half}.mid_block.{theirs}.{layer}.*",))
    for ours, theirs in (("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
        yield Row(f"{half}.mid.attn_1.{ours}.*", (f"{half}.mid_block.attentions.0.{theirs}.*",))


def _original_attention() -> Iterable[Row]:
    for half in ("encoder", "decoder"):
        for layer in ("q", "k", "v", "proj_out"):
            key = f"{half}.mid.attn_1.{layer}"
            yield Row(f"{key}.weight", (f"{key}.weight",), Operation.CONV_1X1_TO_LINEAR)


def t5_layouts() -> tuple[Layout, ...]:
    """The embedding has two names, of which a file may hold either or both; GGUF files have names of their own."""
    shared, embed_tokens = "shared.weight", "encoder.embed_tokens.weight"
    return (
        Layout("transformers", (SAME_NAME,), frozenset({embed_tokens})),
        Layout("transformers, embed_tokens", (Row(shared, (embed_tokens,)), SAME_NAME), frozenset({shared})),
        Layout("llama.cpp", tuple(_llama_t5())),
    )


def _llama_t5() -> Iterable[Row]:
    yield Row("shared.weight", ("token_embd.weight",))
    yield Row("encoder.final_layer_norm.weight", ("enc.output_norm.weight",))
    layer = "encoder.block.#.layer"
    for ours, theirs in (("q", "attn_q"), ("k", "attn_k"), ("v", "attn_v"), ("o", "attn_o")):
        yield Row(f"{layer}.0.SelfAttention.{ours}.weight", (f"enc.blk.#.{theirs}.weight",))
    yield Row(f"{layer}.0.SelfAttention.relative_attention_bias.weight", ("enc.blk.#.attn_rel_b.weight",))
    yield Row(f"{layer}.0.layer_norm.weight", ("enc.blk.#.attn_norm.weight",))
    for ours, theirs in (("wi_0", "ffn_gate"), ("wi_1", "ffn_up"), ("wo", "ffn_down")):
        yield Row(f"{layer}.1.DenseReluDense.{ours}.weight", (f"enc.blk.#.{theirs}.weight",))
    yield Row(f"{layer}.1.layer_norm.weight", ("enc.blk.#.ffn_norm.weight",))


def clip_layouts() -> tuple[Layout, ...]:
    """Files written before transformers 5 have a prefix; old ones also hold a constant, and files of the whole CLIP
    what brings text and pictures together."""
    position_ids, of_pictures = "embeddings.position_ids", {"logit_scale", "text_projection.weight"}
    return (
        Layout("transformers", (SAME_NAME,), frozenset({f"text_model.{position_ids}", *of_pictures})),
        Layout("transformers, no prefix", (Row("text_model.@", ("@",)),), frozenset({position_ids, *of_pictures})),
    )
