"""Prompts become what the transformer reads, and are remembered: people ask for the same words again.

B batch, T text tokens, D text width, V pooled width.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from bildwerk.weights.load import Components

REMEMBERED_PROMPTS = 64


@dataclass(frozen=True, slots=True)
class EncodedPrompts:
    """txt: B T D, pooled: B V; truncated: B, whether the model reads only the beginning of the prompt."""

    txt: Tensor
    pooled: Tensor
    truncated: tuple[bool, ...]

    def select(self, indices: Sequence[int]) -> Self:
        rows = list(indices)
        return type(self)(self.txt[rows], self.pooled[rows], tuple(self.truncated[row] for row in rows))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(
            torch.cat([part.txt for part in parts]),
            torch.cat([part.pooled for part in parts]),
            tuple(flag for part in parts for flag in part.truncated),
        )


class PromptEncoder:
    """T5 for the words, CLIP for the whole. What was asked lately is not computed again."""

    def __init__(
        self,
        components: Components,
        max_text_tokens: int,
        device: torch.device,
        remembered: int = REMEMBERED_PROMPTS,
    ) -> None:
        self._components = components
        self._device = device
        self._max_text_tokens = max_text_tokens
        self._remembered = remembered
        self._known: OrderedDict[str, EncodedPrompts] = OrderedDict()

    def encode(self, prompts: Sequence[str]) -> EncodedPrompts:
        """One row a prompt, in order; equal prompts are computed once."""
        unknown = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        if unknown:
            computed = self._compute(unknown)
            self._known.update((prompt, computed.select([row])) for row, prompt in enumerate(unknown))
        rows = EncodedPrompts.joined([self._known[prompt] for prompt in prompts])
        self._forget_all_but_the_latest(prompts)
        return rows

    def forget(self) -> None:
        self._known.clear()

    def _compute(self, prompts: Sequence[str]) -> EncodedPrompts:
        parts = self._components
        words = parts.t5_tokenizer.encode(prompts, self._max_text_tokens)
        wholes = parts.clip_tokenizer.encode(prompts, parts.max_clip_tokens)
        txt = parts.t5(torch.tensor(words.ids, device=self._device))
        pooled = parts.clip(torch.tensor(wholes.ids, device=self._device))
        return EncodedPrompts(txt, pooled, tuple(words.truncated))

    def _forget_all_but_the_latest(self, prompts: Sequence[str]) -> None:
        for prompt in dict.fromkeys(prompts):
            self._known.move_to_end(prompt)
        while len(self._known) > self._remembered:
            self._known.popitem(last=False)
