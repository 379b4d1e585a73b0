"""CLIP's tokenizer folder as the real files have it: vocabulary and merges, no tokenizer.json."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTokenizer

from bildwerk.weights.errors import WeightsError
from bildwerk.weights.load_tokenizer import load_clip_tokenizer, load_t5_tokenizer
from tests.parity.tiny_pipeline import MERGES, clip_vocabulary

START, END = "<|startoftext|>", "<|endoftext|>"
PROMPT = "the CAT <|STARTOFTEXT|> and <|ENDOFTEXT|> and <|endoftext|> 12 more"


def token(content: str, normalized: bool) -> dict[str, Any]:
    flags = {"lstrip": False, "rstrip": False, "single_word": False}
    return {"content": content, "normalized": normalized, "special": True} | flags


def decoder(start: bool, end: bool) -> dict[str, Any]:
    return {str(clip_vocabulary()[name]): token(name, flag) for name, flag in ((START, start), (END, end))}


SETTINGS = {
    "texts": {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END},
    "both normalized": {"pad_token": END, "added_tokens_decoder": decoder(True, True)},
    "one normalized": {"pad_token": END, "added_tokens_decoder": decoder(True, False)},
    "padded otherwise": {"pad_token": "!"},
}


def written(folder: Path, settings: dict[str, Any]) -> Path:
    (folder / "vocab.json").write_text(json.dumps(clip_vocabulary()))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(merge) for merge in MERGES))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77} | settings
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_ids_are_those_of_transformers(settings: dict[str, Any], tmp_path: Path) -> None:
    folder = written(tmp_path, settings)
    tokenizer, max_tokens = load_clip_tokenizer(folder)
    theirs = CLIPTokenizer.from_pretrained(folder)
    expected = theirs(PROMPT, max_length=77, truncation=True, padding="max_length").input_ids
    assert max_tokens == 77
    assert tokenizer.encode([PROMPT], 77).ids == [expected]


def test_a_vocabulary_without_merges_is_refused(tmp_path: Path) -> None:
    (written(tmp_path, {}) / "merges.txt").unlink()
    with pytest.raises(WeightsError, match=r"merges\.txt is missing"):
        load_clip_tokenizer(tmp_path)


def test_a_vocabulary_and_merges_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (written(tmp_path, {}) / "merges.txt").write_text("zz top\n")
    with pytest.raises(WeightsError, match=f"{tmp_path}: vocab.json and merges.txt do not belong together"):
        load_clip_tokenizer(tmp_path)


def test_t5_without_a_tokenizer_json_is_refused(tmp_path: Path) -> None:
    written(tmp_path, {})
    with pytest.raises(WeightsError, match=r"tokenizer\.json is missing"):
        load_t5_tokenizer(tmp_path)
