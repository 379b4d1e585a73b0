"""The tokenizers: any text becomes tokens, and the words of the world are whole ones."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.tokens import clip_tokenizer, corpus, t5_tokenizer, token_ids, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers")
    train(folder, count=3000)
    return folder


def test_training_is_reproducible(folder: Path, tmp_path: Path) -> None:
    train(tmp_path, count=3000)
    for name in ("t5.json", "vocab.json", "merges.txt"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_words_of_the_world_are_single_tokens(folder: Path) -> None:
    text = "a lake with mountains and clouds"
    assert t5_tokenizer(folder).tokenizer.encode(text).tokens == ["▁" + w for w in text.split()] + ["</s>"]
    assert len(clip_tokenizer(folder).tokenizer.encode(text).tokens) == 8


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_survives_the_t5_tokenizer_but_for_case_and_spaces(folder: Path, text: str) -> None:
    tokenizer = t5_tokenizer(folder).tokenizer
    encoding = tokenizer.encode(text)
    assert "<unk>" not in encoding.tokens
    normal = tokenizer.normalizer.normalize_str(text)
    assert tokenizer.decode(encoding.ids).replace(" ", "") == normal.replace(" ", "").replace("▁", "")


def test_rows_are_padded_to_the_length_asked_for(folder: Path) -> None:
    texts = [*corpus(3, seed=1), "日本 🌄 \x00", ""]
    assert token_ids(t5_tokenizer(folder), texts, 64).shape == (5, 64)
    assert token_ids(clip_tokenizer(folder), texts, 77).shape == (5, 77)
