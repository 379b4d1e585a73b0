"""Trains the two tokenizers on captions, and reads them back.

    python -m training.tokens

Both are lower-casing and fall back to bytes, so any text whatever becomes tokens. B batch, T tokens.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from bildwerk.flux.tokenizers import CLIP_END, CLIP_START, CLIP_WORDS, T5_PAD, PromptTokenizer, clip_from_vocabulary
from training.captions import caption
from training.dataset import RUNS
from training.scenes import sample

T5_END = "</s>"
T5_UNKNOWN = "<unk>"
END_OF_WORD = "</w>"
CLIP_TOKENS = 77
T5_TOKENS = 64
CLIP_VOCABULARY = 1200
T5_VOCABULARY = 1200
FOLDER = RUNS / "tokenizers"


def corpus(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [caption(sample(rng), rng) for _ in range(count)]


def train_t5(texts: list[str]) -> Tokenizer:
    """A byte-pair encoding with `▁` for the space and bytes for unknown characters; a text ends in `</s>`."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=T5_UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex(r"[^\p{L}▁]"), "isolated")]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    special = [T5_PAD, T5_END, T5_UNKNOWN]
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=T5_VOCABULARY, special_tokens=special + bytes_, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(content))  # the bytes are tokens of the vocabulary, not special words
    end = tokenizer.token_to_id(T5_END)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {T5_END}", special_tokens=[(T5_END, end)])
    return tokenizer


def train_clip(texts: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and merges of a byte-level byte-pair encoding, as CLIP has it."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    tokenizer.normalizer = normalizers.Lowercase()
    words = pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=CLIP_VOCABULARY - 514,  # the bytes, the bytes at the end of a word, and the two special tokens
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    learned = sorted(model["vocab"], key=model["vocab"].__getitem__)
    pieces = [*letters, *(letter + END_OF_WORD for letter in letters), *learned, CLIP_START, CLIP_END]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}, [tuple(m) for m in model["merges"]]


def merges_text(merges: list[tuple[str, str]]) -> str:
    return "#version: 0.2\n" + "".join(f"{first} {second}\n" for first, second in merges)


def train(folder: Path, count: int) -> None:
    texts = corpus(count, seed=11)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t5.json").write_text(train_t5(texts).to_str(pretty=True))
    vocabulary, merges = train_clip(texts)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text(merges_text(merges))


def t5_tokenizer(folder: Path = FOLDER) -> PromptTokenizer:
    return PromptTokenizer.from_json((folder / "t5.json").read_text(), T5_PAD)


def clip_tokenizer(folder: Path = FOLDER) -> PromptTokenizer:
    return clip_from_vocabulary((folder / "vocab.json").read_text(), (folder / "merges.txt").read_text())


def token_ids(tokenizer: PromptTokenizer, texts: list[str], max_tokens: int) -> Tensor:
    return torch.tensor(tokenizer.encode(texts, max_tokens).ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--captions", type=int, default=20_000)
    options = parser.parse_args()
    train(options.folder, options.captions)
    for text in ("A beautiful landscape with mountains and lake", "Ünïcödé 🌄 £9"):
        print(text, t5_tokenizer(options.folder).tokenizer.encode(text).tokens)
        print(text, clip_tokenizer(options.folder).tokenizer.encode(text).tokens)


if __name__ == "__main__":
    main()
