"""The same ids as transformers' CLIPTokenizer and T5Tokenizer, for any text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer, T5Tokenizer

from bildwerk.flux.tokenizers import T5_PAD, PromptTokenizer, clip_from_vocabulary
from tests.parity.tiny_pipeline import MERGES, clip_tokenizer, clip_vocabulary, t5_tokenizer

VOCAB_JSON = json.dumps(clip_vocabulary())
MERGES_TXT = "#version: 0.2\n" + "\n".join(" ".join(merge) for merge in MERGES) + "\n"
THEIR_CLIP: CLIPTokenizer = clip_tokenizer()
THEIR_T5: T5Tokenizer = t5_tokenizer()
CLIP_BY_VOCABULARY = clip_from_vocabulary(VOCAB_JSON, MERGES_TXT)
CLIP_BY_JSON = PromptTokenizer.from_json(THEIR_CLIP.backend_tokenizer.to_str(), "<|endoftext|>")
T5_BY_JSON = PromptTokenizer.from_json(THEIR_T5.backend_tokenizer.to_str(), T5_PAD)
PAIRS = {
    "CLIP from its vocabulary": (CLIP_BY_VOCABULARY, THEIR_CLIP),
    "CLIP from tokenizer.json": (CLIP_BY_JSON, THEIR_CLIP),
    "T5 from tokenizer.json": (T5_BY_JSON, THEIR_T5),
}
TEXTS = [
    "",
    " ",
    "the cat and the dog's 12 friends",
    "The CAT,  and\tthe\nDOG!?",
    "e\u0301 against \u00e9; ﬁ ligature; İstanbul; ẞ",
    "名前 🐈‍⬛ 👩🏽‍🚀",
    "a <|endoftext|> b <|STARTOFTEXT|> c",
    "</s><pad><unk><extra_id_0>",
    "\x00\x07 control \u200b zero width",
    "the " * 200,
    "x" * 500,
]


def their_ids(tokenizer: CLIPTokenizer | T5Tokenizer, text: str, max_tokens: int) -> list[int]:
    return tokenizer(text, max_length=max_tokens, truncation=True, padding="max_length").input_ids


@pytest.mark.parametrize("max_tokens", [3, 16, 77])
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[:20])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_ids_agree(pair: tuple, text: str, max_tokens: int) -> None:
    ours, theirs = pair
    assert ours.encode([text], max_tokens).ids == [their_ids(theirs, text, max_tokens)]


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
@given(text=st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_ids_agree_for_any_text(pair: tuple, text: str) -> None:
    ours, theirs = pair
    assert ours.encode([text], 16).ids == [their_ids(theirs, text, 16)]


def test_truncation_is_told_and_keeps_the_end() -> None:
    fits, cut = "the cat", "the " * 76
    ids, truncated = CLIP_BY_VOCABULARY.encode([fits, cut], 77)
    assert truncated == [False, True]
    assert ids[1][-1] == clip_vocabulary()["<|endoftext|>"]
    assert [len(row) for row in ids] == [77, 77]


def test_a_prompt_that_just_fits_is_not_truncated() -> None:
    assert CLIP_BY_VOCABULARY.encode(["the " * 75], 77).truncated == [False]


def test_padding_is_the_token_that_was_named() -> None:
    padded_otherwise = clip_from_vocabulary(VOCAB_JSON, MERGES_TXT, pad_token="!")
    assert padded_otherwise.encode(["the"], 5).ids[0][3:] == [clip_vocabulary()["!"]] * 2
    assert T5_BY_JSON.encode(["the"], 5).ids[0][-1] == 0


def test_half_a_surrogate_pair_is_read_as_a_question_mark() -> None:
    assert T5_BY_JSON.encode(["the \ud800"], 8) == T5_BY_JSON.encode(["the ?"], 8)


def test_truncation_and_padding_in_the_file_are_of_no_account() -> None:
    content = json.loads(THEIR_T5.backend_tokenizer.to_str())
    content["truncation"] = {"max_length": 3, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
    content["padding"] = {
        "strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 5, "pad_type_id": 0,
        "pad_token": "a",
    }  # fmt: skip
    tokenizer = PromptTokenizer.from_json(json.dumps(content), T5_PAD)
    assert tokenizer.encode(["the cat and a dog"], 12) == T5_BY_JSON.encode(["the cat and a dog"], 12)


FAULTS = [
    ("[]", MERGES_TXT, r"must map each token to its number"),
    ('{"a": "b"}', MERGES_TXT, r"must map each token to its number"),
    ('{"a": 1}', MERGES_TXT, r"lacks <\|startoftext\|> and <\|endoftext\|>"),
    (VOCAB_JSON, "t h e\n", r"each line must be two tokens, not 't h e'"),
    (VOCAB_JSON, "q zz\n", r"do not belong together.*zz"),
    ("{", "", "Expecting"),
]


@pytest.mark.parametrize(("vocab", "merges", "reason"), FAULTS)
def test_a_malformed_vocabulary_is_refused(vocab: str, merges: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        clip_from_vocabulary(vocab, merges)


def test_a_padding_token_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="'<nothing>' is not in the tokenizer's vocabulary"):
        clip_from_vocabulary(VOCAB_JSON, MERGES_TXT, "<nothing>")
