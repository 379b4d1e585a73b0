"""The tokenizer folders of the diffusers layout."""

from pathlib import Path
from typing import Any

from bildwerk.flux.tokenizers import CLIP_END, T5_PAD, PromptTokenizer, clip_from_vocabulary
from bildwerk.weights.errors import WeightsError
from bildwerk.weights.json_file import read_json, read_text

MAX_TOKENIZER_BYTES = 64 * 2**20
MAX_CONFIG_BYTES = 2**20
USUAL_CLIP_TOKENS = 77


def load_clip_tokenizer(folder: Path) -> tuple[PromptTokenizer, int]:
    """From `tokenizer.json`, or else from `vocab.json` and `merges.txt`; and how many tokens it allows.

    Raises `WeightsError`.
    """
    settings = _read_settings(folder)
    pad_token = _pad_token(folder, settings, CLIP_END)
    max_tokens = settings.get("model_max_length", USUAL_CLIP_TOKENS)
    if type(max_tokens) is not int or max_tokens < 2:
        raise WeightsError(f"{folder}: model_max_length is {max_tokens!r}, but must be a whole number of at least 2")
    if (folder / "tokenizer.json").exists():
        return _from_json(folder, pad_token), max_tokens
    return _clip_from_vocabulary(folder, pad_token, _normalized(settings)), max_tokens


def load_t5_tokenizer(folder: Path) -> PromptTokenizer:
    """From `tokenizer.json`; a folder with `spiece.model` alone is not read. Raises `WeightsError`."""
    return _from_json(folder, _pad_token(folder, _read_settings(folder), T5_PAD))


def _from_json(folder: Path, pad_token: str) -> PromptTokenizer:
    content = read_text(folder / "tokenizer.json", MAX_TOKENIZER_BYTES)
    try:
        return PromptTokenizer.from_json(content, pad_token)
    except ValueError as error:
        raise WeightsError(f"{folder / 'tokenizer.json'}: {error}") from error


def _clip_from_vocabulary(folder: Path, pad_token: str, normalized: frozenset[str]) -> PromptTokenizer:
    vocab = read_text(folder / "vocab.json", MAX_TOKENIZER_BYTES)
    merges = read_text(folder / "merges.txt", MAX_TOKENIZER_BYTES)
    try:
        return clip_from_vocabulary(vocab, merges, pad_token, normalized)
    except ValueError as error:
        raise WeightsError(f"{folder}: {error}") from error


def _read_settings(folder: Path) -> dict[str, Any]:
    return read_json(folder / "tokenizer_config.json", MAX_CONFIG_BYTES)


def _pad_token(folder: Path, settings: dict[str, Any], default: str) -> str:
    """A token is written as its text, or as an object with the text in it."""
    match settings.get("pad_token"):
        case str(text) | {"content": str(text)}:
            return text
        case None:
            return default
        case other:
            raise WeightsError(f"{folder}: pad_token is {ascii(other)[:80]}, but must be a text")


def _normalized(settings: dict[str, Any]) -> frozenset[str]:
    """The special tokens that are looked for after lower-casing; by default none is."""
    match settings.get("added_tokens_decoder"):
        case dict(added):
            tokens = list(added.values())
        case _:
            tokens = [settings.get(name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")]
    return frozenset(_content(token) for token in tokens if isinstance(token, dict) and token.get("normalized") is True)


def _content(token: dict[str, Any]) -> str:
    return str(token.get("content"))
