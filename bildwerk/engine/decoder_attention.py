"""The decoder's one attention: a single head, wider than the kernels for attention are made for, over every position.

B batch, C channels, h w latent positions.
"""

from types import MethodType

from torch import Tensor

from bildwerk.flux.attention import Attend
from bildwerk.flux.autoencoder import AttnBlock, Autoencoder


def use(attend: Attend, autoencoder: Autoencoder) -> None:
    """The autoencoder attends that way from now on."""

    def forward(block: AttnBlock, x: Tensor) -> Tensor:
        """x: B C h w -> B C h w, as `AttnBlock.forward`."""
        tokens = block.norm(x).flatten(2).transpose(1, 2).unsqueeze(1)  # B 1 (h w) C
        attended = attend(block.q(tokens), block.k(tokens), block.v(tokens))  # B (h w) C
        return x + block.proj_out(attended).transpose(1, 2).reshape(x.shape)

    for block in autoencoder.modules():
        if isinstance(block, AttnBlock):
            block.forward = MethodType(forward, block)  # type: ignore[method-assign]
