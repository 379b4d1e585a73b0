"""Writes flux-tiny as a folder in the layout of diffusers, from the checkpoints.

    python -m training.export

`diffusers.FluxPipeline.from_pretrained` and the engine read the same files.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.params import AutoencoderParams, ClipParams, T5Params, TransformerParams
from bildwerk.flux.tokenizers import CLIP_END, CLIP_START, T5_PAD
from bildwerk.weights.layouts import autoencoder_layouts, clip_layouts, t5_layouts, transformer_layouts
from bildwerk.weights.mapping import Layout
from training.autoencoder import load_averaged
from training.dataset import RUNS
from training.latents import FOLDER as LATENTS
from training.latents import scaled_params
from training.painter import Painter, load_painter
from training.tokens import CLIP_TOKENS, T5_END, T5_TOKENS, T5_UNKNOWN

FOLDER = Path(__file__).parent.parent / "bildwerk" / "models" / "flux-tiny"
CARD = Path(__file__).parent / "model_card.md"
LIMIT = 30_000_000
MODEL_INDEX = {
    "_class_name": "FluxPipeline",
    "_diffusers_version": "0.42.1",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "PreTrainedTokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "use_dynamic_shifting": False,
    "base_shift": 0.5,
    "max_shift": 1.15,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
}


def transformer_config(params: TransformerParams) -> dict[str, Any]:
    return {
        "_class_name": "FluxTransformer2DModel",
        "patch_size": 1,
        "in_channels": params.in_channels,
        "num_layers": params.depth,
        "num_single_layers": params.depth_single_blocks,
        "attention_head_dim": params.head_dim,
        "num_attention_heads": params.num_heads,
        "joint_attention_dim": params.context_in_dim,
        "pooled_projection_dim": params.vec_in_dim,
        "guidance_embeds": params.guidance_embed,
        "axes_dims_rope": list(params.axes_dim),
    }


def vae_config(params: AutoencoderParams) -> dict[str, Any]:
    levels = len(params.channels)
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": params.in_channels,
        "out_channels": params.out_channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": list(params.channels),
        "layers_per_block": params.num_res_blocks,
        "act_fn": "silu",
        "latent_channels": params.z_channels,
        "norm_num_groups": params.norm_groups,
        "sample_size": 256,
        "scaling_factor": params.scale_factor,
        "shift_factor": params.shift_factor,
        "mid_block_add_attention": True,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "force_upcast": False,
    }


def t5_config(params: T5Params) -> dict[str, Any]:
    return {
        "architectures": ["T5EncoderModel"],
        "model_type": "t5",
        "vocab_size": params.vocab_size,
        "d_model": params.d_model,
        "d_kv": params.d_kv,
        "d_ff": params.d_ff,
        "num_layers": params.num_layers,
        "num_heads": params.num_heads,
        "relative_attention_num_buckets": params.relative_attention_num_buckets,
        "relative_attention_max_distance": params.relative_attention_max_distance,
        "layer_norm_epsilon": params.layer_norm_epsilon,
        "dropout_rate": 0.0,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "tie_word_embeddings": False,
        "use_cache": False,
    }


def clip_config(params: ClipParams) -> dict[str, Any]:
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": params.vocab_size,
        "hidden_size": params.hidden_size,
        "intermediate_size": params.intermediate_size,
        "projection_dim": params.hidden_size,
        "num_hidden_layers": params.num_hidden_layers,
        "num_attention_heads": params.num_attention_heads,
        "max_position_embeddings": params.max_position_embeddings,
        "layer_norm_eps": params.layer_norm_eps,
        "hidden_act": params.hidden_act,
        "attention_dropout": 0.0,
        "bos_token_id": params.eos_token_id - 1,
        "eos_token_id": params.eos_token_id,
        "pad_token_id": params.eos_token_id,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_weights(path: Path, module: nn.Module, layout: Layout) -> None:
    """16 bits: bfloat16, as the field's files have them."""
    state: dict[str, Tensor] = layout.export(module.state_dict())
    tensors = {name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in state.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library writes for the owner alone


def write_models(folder: Path, painter: Painter, autoencoder: Autoencoder) -> None:
    t5, clip, flow, vae = painter.t5.params, painter.clip.params, painter.flow.params, autoencoder.params
    name = "diffusion_pytorch_model.safetensors"
    write_json(folder / "transformer" / "config.json", transformer_config(flow))
    write_weights(folder / "transformer" / name, painter.flow, transformer_layouts(flow)[0])
    write_json(folder / "vae" / "config.json", vae_config(vae))
    write_weights(folder / "vae" / name, autoencoder, autoencoder_layouts(vae)[0])
    write_json(folder / "text_encoder" / "config.json", clip_config(clip))
    write_weights(folder / "text_encoder" / "model.safetensors", painter.clip, clip_layouts()[0])
    write_json(folder / "text_encoder_2" / "config.json", t5_config(t5))
    write_weights(folder / "text_encoder_2" / "model.safetensors", painter.t5, t5_layouts()[0])


def write_tokenizers(folder: Path, painter: Painter) -> None:
    clip, t5 = folder / "tokenizer", folder / "tokenizer_2"
    write_json(
        clip / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": CLIP_TOKENS,
            "bos_token": CLIP_START,
            "eos_token": CLIP_END,
            "unk_token": CLIP_END,
            "pad_token": CLIP_END,
            "do_lower_case": True,
        },
    )
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(painter.tokenizers / name, clip / name)
    (clip / "tokenizer.json").write_text(painter.clip_tokenizer.tokenizer.to_str(pretty=True))
    write_json(
        t5 / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": T5_TOKENS,
            "eos_token": T5_END,
            "unk_token": T5_UNKNOWN,
            "pad_token": T5_PAD,
            "clean_up_tokenization_spaces": False,
        },
    )
    (t5 / "tokenizer.json").write_text(painter.t5_tokenizer.tokenizer.to_str(pretty=True))


def export(folder: Path, painter: Painter, autoencoder: Autoencoder) -> int:
    """Writes the folder and returns its size in bytes. Raises `ValueError` beyond the limit of 30 MB."""
    write_json(folder / "model_index.json", MODEL_INDEX)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    shutil.copy(CARD, folder / "README.md")
    write_tokenizers(folder, painter)
    write_models(folder, painter, autoencoder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LIMIT:
        raise ValueError(f"{folder} has {size} bytes; the limit is {LIMIT}")
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--flow", type=Path, nargs="+", default=[RUNS / "flow.pt"], help="several of one training are averaged"
    )
    parser.add_argument("--autoencoder", type=Path, default=RUNS / "decoder.pt")
    parser.add_argument("--latents", type=Path, default=LATENTS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    painter = load_painter(*options.flow)
    autoencoder = load_averaged(options.autoencoder, scaled_params(options.latents))
    print(f"{export(options.folder, painter, autoencoder) / 1e6:.1f} MB in {options.folder}")


if __name__ == "__main__":
    main()
