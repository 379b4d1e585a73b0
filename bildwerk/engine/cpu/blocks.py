"""The transformer's blocks on a CPU: matrix products of packed weights, and one pass over memory between any two.

B batch, L image or joint tokens, T text tokens, C hidden size, D head dim.

The networks keep their modules: a block whose layers are packed gets another `forward`.
Pictures of a batch are computed one after the other, since on a CPU one of them keeps all cores busy.
"""

from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bildwerk.engine.cpu.arithmetic import Arithmetic, Bfloat16Arithmetic, Int8Arithmetic, Rows, attended
from bildwerk.engine.cpu.kernels import Heads, Kernels, Product, fits
from bildwerk.engine.cpu.linears import Bfloat16Linear, Int8Linear, PackedLinear
from bildwerk.flux.layers import (
    DoubleModulation,
    DoubleStreamBlock,
    ModulationOut,
    QKNorm,
    SelfAttention,
    SingleStreamBlock,
)
from bildwerk.flux.params import TransformerParams
from bildwerk.flux.transformer import Flux

ARITHMETICS: dict[type[PackedLinear], type[Bfloat16Arithmetic] | type[Int8Arithmetic]] = {
    Bfloat16Linear: Bfloat16Arithmetic,
    Int8Linear: Int8Arithmetic,
}


def suits(params: TransformerParams) -> bool:
    """Whether the kernels know heads and rows of these sizes."""
    return fits(params.head_dim, params.hidden_size + params.mlp_hidden_dim)


def use(packed: type[PackedLinear], model: Flux, kernels: Kernels) -> None:
    """Every block whose layers are `packed` that way runs on the kernels from now on; any other stays as it is."""
    fast = FastBlocks(ARITHMETICS[packed](kernels))
    for block in model.modules():
        if not isinstance(block, DoubleStreamBlock | SingleStreamBlock):
            continue
        if not all(isinstance(layer, packed) for layer in _layers(block)):
            continue
        run = fast.single_stream if isinstance(block, SingleStreamBlock) else fast.double_stream
        block.forward = MethodType(run, block)  # type: ignore[method-assign]


def _layers(block: DoubleStreamBlock | SingleStreamBlock) -> list[nn.Module]:
    if isinstance(block, SingleStreamBlock):
        return [block.linear1, block.linear2]
    streams = ((block.img_attn, block.img_mlp), (block.txt_attn, block.txt_mlp))
    return [layer for attn, mlp in streams for layer in (attn.qkv, attn.proj, mlp[0], mlp[2])]


class Stream(NamedTuple):
    """Image or text of one picture on its way through a double-stream block. x: its tokens x C; modulation: C each."""

    attn: SelfAttention
    mlp: nn.Sequential
    x: Tensor
    attn_mod: ModulationOut
    mlp_mod: ModulationOut


class FastBlocks:
    def __init__(self, arithmetic: Arithmetic) -> None:
        self.arithmetic, self.kernels = arithmetic, arithmetic.kernels

    def double_stream(
        self, block: DoubleStreamBlock, img: Tensor, txt: Tensor, mod: DoubleModulation, rotary: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `DoubleStreamBlock.forward`."""
        if _is_adapted(block):
            return DoubleStreamBlock.forward(block, img, txt, mod, rotary)
        pairs = [
            self._double_stream(
                Stream(block.txt_attn, block.txt_mlp, txt[i], _row(mod.txt_attn, i), _row(mod.txt_mlp, i)),
                Stream(block.img_attn, block.img_mlp, img[i], _row(mod.img_attn, i), _row(mod.img_mlp, i)),
                rotary,
            )
            for i in range(len(img))
        ]
        return _stacked([img for img, _ in pairs]), _stacked([txt for _, txt in pairs])

    def single_stream(self, block: SingleStreamBlock, x: Tensor, mod: ModulationOut, rotary: Tensor) -> Tensor:
        """As `SingleStreamBlock.forward`."""
        if _is_adapted(block):
            return SingleStreamBlock.forward(block, x, mod, rotary)
        return _stacked([self._single_stream(block, x[i], _row(mod, i), rotary) for i in range(len(x))])

    def _double_stream(self, txt: Stream, img: Stream, rotary: Tensor) -> tuple[Tensor, Tensor]:
        """rotary: (T + L) D/2 2 -> img: L C, txt: T C."""
        text_tokens = len(txt.x)
        heads = Heads(img.attn.num_heads, text_tokens + len(img.x), 2 * rotary.shape[1])
        for stream, first in ((txt, 0), (img, text_tokens)):
            qkv: Any = stream.attn.qkv
            product: Product = qkv.product(self._modulated(stream.x, stream.attn_mod))
            self.kernels.split_heads(product, _scales(stream.attn.norm), rotary, heads, first)
        joint = attended(heads, self.kernels)
        return self._rest(img, joint[text_tokens:]), self._rest(txt, joint[:text_tokens])

    def _rest(self, stream: Stream, joint: Tensor) -> Tensor:
        """A stream after its attention: the projection and the MLP, each added to what it came from."""
        proj: Any = stream.attn.proj
        up: Any = stream.mlp[0]
        down: Any = stream.mlp[2]
        x = self.kernels.gated_sum(stream.x, proj.product(self.arithmetic.rows(joint)), stream.attn_mod.gate)
        hidden = up.product(self._modulated(x, stream.mlp_mod))
        return self.kernels.gated_sum(x, down.product(self.arithmetic.activated(hidden)), stream.mlp_mod.gate)

    def _modulated(self, x: Tensor, mod: ModulationOut) -> Rows:
        return self.arithmetic.modulated(x, mod.shift, mod.scale)

    def _single_stream(self, block: SingleStreamBlock, x: Tensor, mod: ModulationOut, rotary: Tensor) -> Tensor:
        """x: L C, rotary: L D/2 2; the modulation: C each."""
        linear1: Any = block.linear1
        linear2: Any = block.linear2
        product: Product = linear1.product(self._modulated(x, mod))
        qkv_width, _ = block.linear1_widths
        heads = Heads(block.num_heads, len(x), 2 * rotary.shape[1])
        self.kernels.split_heads(product.columns(0, qkv_width), _scales(block.norm), rotary, heads, 0)
        joined: Rows = self.arithmetic.joined(heads, product.columns(qkv_width, product.rows.shape[1]))
        return self.kernels.gated_sum(x, linear2.product(joined), mod.gate)


def _stacked(pictures: list[Tensor]) -> Tensor:
    """One alone is not copied."""
    return pictures[0].unsqueeze(0) if len(pictures) == 1 else torch.stack(pictures)


def notices_hooks(forward: object) -> bool:
    """Whether it is a block's `forward` of this module, which makes way where a layer of the block has hooks."""
    return isinstance(getattr(getattr(forward, "__func__", None), "__self__", None), FastBlocks)


def _is_adapted(block: DoubleStreamBlock | SingleStreamBlock) -> bool:
    """Whether something, such as a LoRA, waits for a layer's input and result, which the kernels never make whole."""
    return any(layer._forward_hooks for layer in _layers(block))


def _row(mod: ModulationOut, index: int) -> ModulationOut:
    """B 1 C each -> C each."""
    return ModulationOut(*(part[index, 0] for part in mod))


def _scales(norm: QKNorm) -> tuple[Tensor, Tensor]:
    return norm.query_norm.scale.float(), norm.key_norm.scale.float()
