"""Everything of flux-tiny that turns a prompt into latents: both text encoders and the flow transformer.

B batch, T text tokens, L image tokens, C latent channels, h w latent positions.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from bildwerk.flux import sampling
from bildwerk.flux.attention import rotary_embedding
from bildwerk.flux.clip import ClipTextEncoder
from bildwerk.flux.params import ClipParams, ScheduleParams, T5Params, TransformerParams
from bildwerk.flux.t5 import T5Encoder
from bildwerk.flux.transformer import Flux
from training.tokens import CLIP_TOKENS, clip_tokenizer, t5_tokenizer, token_ids
from training.tokens import FOLDER as TOKENIZERS

Z_CHANNELS = 32
CONTEXT = 128
POOLED = 128
FLOW = TransformerParams(
    in_channels=4 * Z_CHANNELS,
    out_channels=4 * Z_CHANNELS,
    vec_in_dim=POOLED,
    context_in_dim=CONTEXT,
    hidden_size=256,
    num_heads=4,
    depth=2,
    depth_single_blocks=3,
    axes_dim=(8, 28, 28),
)
SCHEDULE = ScheduleParams()


def t5_params(vocab_size: int) -> T5Params:
    return T5Params(
        vocab_size=vocab_size,
        d_model=CONTEXT,
        d_kv=32,
        d_ff=256,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=64,
    )


def clip_params(vocab_size: int) -> ClipParams:
    return ClipParams(
        vocab_size=vocab_size,
        hidden_size=POOLED,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CLIP_TOKENS,
        eos_token_id=vocab_size - 1,
    )


class Painter(nn.Module):
    """The trained part, with its tokenizers."""

    def __init__(self, flow: TransformerParams = FLOW, tokenizers: Path = TOKENIZERS) -> None:
        super().__init__()
        self.tokenizers = tokenizers
        self.t5_tokenizer, self.clip_tokenizer = t5_tokenizer(tokenizers), clip_tokenizer(tokenizers)
        self.t5 = T5Encoder(t5_params(self.t5_tokenizer.tokenizer.get_vocab_size()))
        self.clip = ClipTextEncoder(clip_params(self.clip_tokenizer.tokenizer.get_vocab_size()))
        self.flow = Flux(flow)
        self.apply(initialize)
        zero_gates(self.flow)

    def condition(self, prompts: list[str], text_tokens: int) -> tuple[Tensor, Tensor]:
        """prompts -> txt: B T D, pooled: B V."""
        device = self.flow.img_in.weight.device
        txt = self.t5(token_ids(self.t5_tokenizer, prompts, text_tokens).to(device))
        return txt, self.clip(token_ids(self.clip_tokenizer, prompts, CLIP_TOKENS).to(device))

    def rotary(self, text_tokens: int, height: int, width: int) -> Tensor:
        ids = sampling.position_ids(text_tokens, height, width)
        return rotary_embedding(ids, self.flow.params).to(self.flow.img_in.weight.device)

    def velocity(self, x_t: Tensor, t: Tensor, condition: tuple[Tensor, Tensor], rotary: Tensor) -> Tensor:
        """x_t: B L 4C, t: B in [0, 1] -> B L 4C."""
        txt, pooled = condition
        velocity: Tensor = self.flow(x_t, txt, rotary, self.flow.modulation(t[None], pooled)[0])
        return velocity

    @torch.no_grad()
    def sample(self, prompts: list[str], noise: Tensor, steps: int, text_tokens: int) -> Tensor:
        """noise: B C h w -> latents: B C h w, after Euler steps."""
        height, width = noise.shape[-2:]
        txt, pooled = self.condition(prompts, text_tokens)
        x_t = sampling.pack(noise)
        times = sampling.timesteps(steps, x_t.shape[1], SCHEDULE)
        grid = torch.tensor(times[:-1])[:, None].expand(-1, len(prompts)).to(noise.device)
        modulations = self.flow.modulation(grid, pooled)
        rotary = self.rotary(text_tokens, height, width)
        for step in sampling.denoise(self.flow, x_t, txt=txt, rotary=rotary, modulations=modulations, times=times):
            x_t = step.x_t
        return sampling.unpack(x_t, height, width)


def load_painter(*checkpoints: Path, tokenizers: Path = TOKENIZERS) -> Painter:
    """With averaged weights, not to be trained; of several checkpoints of one training, with their mean.

    Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models" (2022).
    """
    states = [torch.load(checkpoint, weights_only=True)["averaged"] for checkpoint in checkpoints]
    painter = Painter(tokenizers=tokenizers)
    painter.load_state_dict({name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]})
    return painter.eval().requires_grad_(False)


def initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.5)


def zero_gates(flow: Flux) -> None:
    """Every block begins as the identity and the velocity as zero, as diffusion transformers train best."""
    for name, module in flow.named_modules():
        if isinstance(module, nn.Linear) and (name.endswith(".lin") or name.startswith("final_layer")):
            nn.init.zeros_(module.weight)
