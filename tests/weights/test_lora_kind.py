"""What a LoRA file was made for, told from names and shapes as trainers write them."""

import pytest

from bildwerk.weights.lora_kind import Shapes, kind_of


def pair(owner: str, inputs: int, outputs: int = 640, *, dotted: bool = False) -> dict[str, tuple[int, ...]]:
    down, up = ("lora_A", "lora_B") if dotted else ("lora_down", "lora_up")
    return {f"{owner}.{down}.weight": (4, inputs), f"{owner}.{up}.weight": (outputs, 4)}


ATTENTION = "attentions_0_transformer_blocks_0_attn2_to_k"
KINDS: dict[str, tuple[Shapes, str | None]] = {
    "kohya, SD 1": (pair(f"lora_unet_down_blocks_1_{ATTENTION}", 768), "Stable Diffusion 1"),
    "kohya, SD 2": (pair(f"lora_unet_up_blocks_1_{ATTENTION}", 1024), "Stable Diffusion 2"),
    "kohya, SDXL": (pair(f"lora_unet_mid_block_{ATTENTION}", 2048), "Stable Diffusion XL"),
    "kohya, SDXL with text": (
        pair("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768)
        | pair("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_v", 2048),
        "Stable Diffusion XL",
    ),
    "diffusers, SDXL": (
        pair("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", 2048, dotted=True),
        "Stable Diffusion XL",
    ),
    "a U-Net of no known width": (pair("lora_unet_down_blocks_0_proj_in", 320), "a Stable Diffusion U-Net"),
    "SD 3": (pair("diffusion_model.joint_blocks.0.x_block.attn.qkv", 1536, dotted=True), "Stable Diffusion 3"),
    "text alone": (pair("lora_te_text_model_encoder_layers_0_mlp_fc1", 768), "a text encoder"),
    "FLUX of diffusers": (
        pair("transformer.single_transformer_blocks.0.attn.to_q", 3072, dotted=True),
        "a FLUX transformer of width 3,072",
    ),
    "FLUX of kohya": (pair("lora_unet_double_blocks_0_img_attn_qkv", 3072), "a FLUX transformer of width 3,072"),
    "FLUX of BFL": (pair("single_blocks.3.linear1", 1024, dotted=True), "a FLUX transformer of width 1,024"),
    "FLUX by its second layers alone": (pair("double_blocks.0.img_mlp.2", 12288, dotted=True), "a FLUX transformer"),
    "no names that are known": (pair("language_model.layers.0", 4096, dotted=True), None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("shapes", "kind"), KINDS.values(), ids=KINDS.keys())
def test_the_kind_is_told(shapes: Shapes, kind: str | None) -> None:
    assert kind_of(shapes) == kind
