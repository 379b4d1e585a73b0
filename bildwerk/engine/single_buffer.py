"""The single-stream block without its concatenation, for where no compiler removes it.

B batch, L tokens, C hidden size, M MLP hidden size.

The block's second matrix reads attention and activated MLP side by side.  Both are written to their place in one
B L (C + M) buffer, so the widest tensor of the model is written once instead of twice.
"""

from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bildwerk.flux.attention import apply_rotary
from bildwerk.flux.layers import ModulationOut, SingleStreamBlock, modulate, split_heads


def forward(block: SingleStreamBlock, x: Tensor, mod: ModulationOut, rotary: Tensor) -> Tensor:
    """x: B L C, rotary: L D/2 2 -> B L C, as `SingleStreamBlock.forward`. Without gradients."""
    qkv, hidden = block.linear1(modulate(x, mod.shift, mod.scale)).split(block.linear1_widths, dim=-1)
    q, k, v = split_heads(qkv, block.num_heads)
    q, k = block.norm(q, k)
    joined = torch.empty(*x.shape[:-1], x.shape[-1] + hidden.shape[-1], dtype=hidden.dtype, device=x.device)
    attended, activated = joined.split([x.shape[-1], hidden.shape[-1]], dim=-1)
    attended.copy_(block.attend(apply_rotary(q, rotary), apply_rotary(k, rotary), v))
    _gelu_into(hidden, activated)
    return torch.addcmul(x, mod.gate, block.linear2(joined))


def _gelu_into(hidden: Tensor, out: Tensor) -> None:
    if torch.compiler.is_compiling():
        out.copy_(F.gelu(hidden, approximate="tanh"))  # the compiler writes it in place, and knows no `out` in a slice
    else:
        torch.ops.aten.gelu.out(hidden, approximate="tanh", out=out)


def use(model: nn.Module) -> None:
    """Every single-stream block of the model runs that way from now on; parameters and their names stay."""
    for block in model.modules():
        if isinstance(block, SingleStreamBlock):
            block.forward = MethodType(forward, block)  # type: ignore[method-assign]
