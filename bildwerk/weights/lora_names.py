"""What the tensors of LoRA files are called, and which rows of which linear layer each name means.

Names have a part for what is changed and one for the matrix: in diffusers' files
`transformer.transformer_blocks.0.attn.to_q.lora_A.weight`, in kohya's
`lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight`, and with the original names
`double_blocks.0.img_attn.qkv.lora_A.weight`, behind `diffusion_model.` where ComfyUI or a trainer of its kind wrote it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from torch import Tensor

from bildwerk.flux.params import TransformerParams
from bildwerk.weights.layouts import transformer_layouts
from bildwerk.weights.mapping import Operation, Row

WEIGHT = ".weight"
PREFIXES = ("transformer.", "diffusion_model.", "model.diffusion_model.", "base_model.model.", "")
KOHYA_PREFIX = "lora_unet_"


class LoraKey(StrEnum):
    """The parts of one change: what is added is `alpha / rank * up @ down`."""

    DOWN = "down"
    UP = "up"
    ALPHA = "alpha"


SUFFIXES = {
    ".lora_A.weight": LoraKey.DOWN,
    ".lora_B.weight": LoraKey.UP,
    ".lora_down.weight": LoraKey.DOWN,
    ".lora_up.weight": LoraKey.UP,
    ".lora.down.weight": LoraKey.DOWN,
    ".lora.up.weight": LoraKey.UP,
    ".alpha": LoraKey.ALPHA,
}


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a change goes: to `rows` rows (all, where None) of a linear layer from `begin` on."""

    module: str
    row: Row
    begin: int = 0
    rows: int | None = None

    def rearrange(self, up: Tensor) -> Tensor:
        """up: O R in the order of the file's layout -> in that of the module."""
        return self.row.to_target([up]) if self.row.operation is Operation.SWAP_HALVES else up


def parse_key(name: str) -> tuple[str, LoraKey] | None:
    """A tensor's name -> what is changed, without the prefix of its format, and the part; None for any other name."""
    for suffix, part in SUFFIXES.items():
        if name.endswith(suffix):
            owner = name.removesuffix(suffix)
            prefix = next(prefix for prefix in PREFIXES if owner.startswith(prefix))
            return owner.removeprefix(prefix), part
    return None


def slots(params: TransformerParams, linears: Iterable[str]) -> dict[str, Slot]:
    """Every name by which a file may call a linear layer of the transformer, or a part of one."""
    keys = [name + WEIGHT for name in linears]
    found: dict[str, Slot] = {}
    for layout in transformer_layouts(params):
        for row in layout.expand(keys).rows:
            for name, slot in _slots_of(row):
                found[name] = found[KOHYA_PREFIX + name.replace(".", "_")] = slot
    return found


def _slots_of(row: Row) -> Iterator[tuple[str, Slot]]:
    module = row.target.removesuffix(WEIGHT)
    if row.operation is not Operation.CONCATENATE:
        yield row.sources[0].removesuffix(WEIGHT), Slot(module, row)
        return
    begins = accumulate(row.sizes, initial=0)
    for source, begin, rows in zip(row.sources, begins, row.sizes, strict=False):
        yield source.removesuffix(WEIGHT), Slot(module, row, begin, rows)
