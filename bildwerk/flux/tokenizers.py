"""Text to token ids, for both text encoders.

B batch, T tokens.  A tokenizer is handed the content of its files; nothing here reads one.
Source: `transformers` (`CLIPTokenizer`, `T5Tokenizer`), whose ids these agree with.
"""

import json
from collections.abc import Collection, Sequence
from typing import NamedTuple, Self

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

CLIP_START = "<|startoftext|>"
CLIP_END = "<|endoftext|>"
CLIP_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
T5_PAD = "<pad>"


class Tokens(NamedTuple):
    """ids: B T, padded; truncated: B, whether the prompt was longer than that."""

    ids: list[list[int]]
    truncated: list[bool]


class PromptTokenizer:
    """A tokenizer and the token that it pads with. Holds no state between calls, so threads may share it.

    Raises `ValueError` for a padding token that is not in the vocabulary.
    """

    def __init__(self, tokenizer: Tokenizer, pad_token: str) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        pad_id = tokenizer.token_to_id(pad_token)
        if pad_id is None:
            raise ValueError(f"the padding token {pad_token!r} is not in the tokenizer's vocabulary")
        self.tokenizer = tokenizer
        self.pad_id = pad_id

    @classmethod
    def from_json(cls, content: str, pad_token: str) -> Self:
        """content: that of a `tokenizer.json`. Raises `ValueError` where it is not one."""
        return cls(parse_tokenizer(content), pad_token)

    def encode(self, prompts: Sequence[str], max_tokens: int) -> Tokens:
        """Each prompt as exactly `max_tokens` ids: padded, or cut with the end-of-text token kept.

        Half a surrogate pair, which is no text, is read as a question mark.
        """
        rows = [self._encode_one(prompt, max_tokens) for prompt in prompts]
        return Tokens([ids for ids, _ in rows], [truncated for _, truncated in rows])

    def _encode_one(self, prompt: str, max_tokens: int) -> tuple[list[int], bool]:
        encoding = self.tokenizer.encode(prompt.encode(errors="replace").decode(), add_special_tokens=False)
        room = max_tokens - self.tokenizer.num_special_tokens_to_add(is_pair=False)
        truncated = len(encoding.ids) > room
        if truncated:
            encoding.truncate(room)
        ids = self.tokenizer.post_process(encoding).ids
        return ids + [self.pad_id] * (max_tokens - len(ids)), truncated


def parse_tokenizer(content: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(content)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"not a tokenizer.json: {error}") from error


def clip_from_vocabulary(
    vocab_json: str, merges_txt: str, pad_token: str = CLIP_END, normalized: Collection[str] = ()
) -> PromptTokenizer:
    """The contents of `vocab.json` and `merges.txt` -> the byte-level BPE of CLIP, lower-casing.

    `normalized` are the special tokens that are also found in a prompt which writes them in capitals.
    Raises `ValueError` where either content is malformed.
    """
    vocab = _parse_vocabulary(vocab_json)
    tokenizer = Tokenizer(_clip_bpe(vocab, _parse_merges(merges_txt)))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.post_processor = processors.RobertaProcessing(
        (CLIP_END, vocab[CLIP_END]), (CLIP_START, vocab[CLIP_START]), trim_offsets=False, add_prefix_space=False
    )
    special = [AddedToken(token, normalized=token in normalized) for token in (CLIP_START, CLIP_END)]
    tokenizer.add_special_tokens(special)
    return PromptTokenizer(tokenizer, pad_token)


def _clip_bpe(vocab: dict[str, int], merges: list[tuple[str, str]]) -> models.BPE:
    try:
        return models.BPE(
            vocab=vocab,
            merges=merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            fuse_unk=False,
            unk_token=CLIP_END,
        )
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"vocab.json and merges.txt do not belong together: {error}") from error


def _parse_vocabulary(content: str) -> dict[str, int]:
    vocab = json.loads(content)
    if not isinstance(vocab, dict) or not all(type(index) is int for index in vocab.values()):
        raise ValueError("vocab.json must map each token to its number")
    missing = [token for token in (CLIP_START, CLIP_END) if token not in vocab]
    if missing:
        raise ValueError(f"vocab.json lacks {' and '.join(missing)}")
    return vocab


def _parse_merges(content: str) -> list[tuple[str, str]]:
    lines = [line for line in content.split("\n") if line and not line.startswith("#version")]
    return [_parse_merge(line) for line in lines]


def _parse_merge(line: str) -> tuple[str, str]:
    match line.rstrip("\r").split(" "):
        case [first, second]:
            return first, second
        case _:
            raise ValueError(f"merges.txt: each line must be two tokens, not {line!r}")
