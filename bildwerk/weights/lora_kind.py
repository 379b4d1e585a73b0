"""What a LoRA file was made for, told from the names and shapes of its tensors: for messages to those who chose it.

Sources of the names: diffusers' `loaders/lora_conversion_utils.py`, kohya-ss/sd-scripts `networks/`. Needs no torch.
"""

import re
from collections.abc import Mapping

Shapes = Mapping[str, tuple[int, ...]]
DOUBLE = re.compile(r"(?:^|[._])(?:double_blocks|transformer_blocks)[._](\d+)[._]")
SINGLE = re.compile(r"single_(?:transformer_)?blocks[._](\d+)[._]")
UNET = re.compile(r"(?:down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)[._]")
UNET_BY_TEXT_WIDTH = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
DOWN = (".lora_A.weight", ".lora_down.weight", ".lora.down.weight")


def kind_of(shapes: Shapes) -> str | None:
    """Such as 'Stable Diffusion XL', or 'a FLUX transformer of width 3,072'; None where the names say nothing."""
    text_width = width_into(shapes, re.compile(r"attn2[._]to_[kv]"))
    if any(UNET.search(name) for name in shapes):
        return UNET_BY_TEXT_WIDTH.get(text_width or 0, "a Stable Diffusion U-Net")
    if any("joint_blocks" in name or "pos_embed" in name for name in shapes):
        return "Stable Diffusion 3"
    if any(re.search(r"lora_te\d?_|text_encoder|text_model", name) for name in shapes):
        return "a text encoder"
    if any(DOUBLE.search(name) or SINGLE.search(name) for name in shapes):
        width = width_into(shapes, re.compile(r"attn[._](?:qkv|to_[qkv]|add_[qkv]_proj)|linear1|proj_mlp"))
        return "a FLUX transformer" if width is None else f"a FLUX transformer of width {width:,}"
    return None


def width_into(shapes: Shapes, owner: re.Pattern[str]) -> int | None:
    """How many values the first linear layer of such a name reads, by the matrix that the file adds to it."""
    for name, shape in shapes.items():
        if name.endswith(DOWN) and owner.search(name) and len(shape) == 2:
            return shape[1]
    return None
