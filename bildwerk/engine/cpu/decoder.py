"""The decoder on a CPU: channels last, group norm and SiLU in one pass, doubling and its convolution in one.

B batch, C channels, H W pixels, h w latent positions.
"""

from types import MethodType

import torch
from torch import Tensor, nn

from bildwerk.engine import decoder_attention
from bildwerk.engine.cpu.kernels import MAX_CHANNELS, Kernels
from bildwerk.engine.cpu.upsampling import DoublingConv
from bildwerk.flux.attention import Attend
from bildwerk.flux.autoencoder import Autoencoder, Decoder, ResnetBlock, Upsample
from bildwerk.flux.params import AutoencoderParams


def suits(params: AutoencoderParams) -> bool:
    return max(params.channels) <= MAX_CHANNELS


def use(attend: Attend, autoencoder: Autoencoder, kernels: Kernels) -> None:
    """The decoder runs that way from now on. The encoder is left as it is."""

    def activated(norm: nn.GroupNorm, x: Tensor) -> Tensor:
        return kernels.group_norm_silu(x.contiguous(memory_format=torch.channels_last), norm)

    def residual_block(block: ResnetBlock, x: Tensor) -> Tensor:
        """x: B C H W -> B C' H W, as `ResnetBlock.forward`."""
        y = block.conv2(activated(block.norm2, block.conv1(activated(block.norm1, x))))
        return y.add_(x if block.nin_shortcut is None else block.nin_shortcut(x))

    def decoder(network: Decoder, z: Tensor) -> Tensor:
        """z: B C h w -> B 3 H W, as `Decoder.forward`."""
        x = network.mid(network.conv_in(z.contiguous(memory_format=torch.channels_last)))
        for level in reversed(network.up):
            x = level(x)
        return network.conv_out(activated(network.norm_out, x))

    autoencoder.decoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decoder_attention.use(attend, autoencoder)
    for module in autoencoder.decoder.modules():
        if isinstance(module, ResnetBlock):
            module.forward = MethodType(residual_block, module)  # type: ignore[method-assign]
        elif isinstance(module, Decoder):
            module.forward = MethodType(decoder, module)  # type: ignore[method-assign]
        elif isinstance(module, Upsample):
            module.forward = DoublingConv(module.conv)  # type: ignore[method-assign]
