"""What the history keeps of a request's body."""

import json
from pathlib import Path
from typing import Any

import pytest

from bildwerk.api.kept_body import MAX_KEPT_BYTES, kept_body
from tests.inline_service import GOOD, inline_service

KNOWN = frozenset({"model", "prompt", *(f"p{number}" for number in range(50))})


def kept(body: dict[str, Any]) -> dict[str, Any]:
    text = kept_body(body, KNOWN)
    assert len(text.encode()) <= MAX_KEPT_BYTES
    read: dict[str, Any] = json.loads(text)
    return read


@pytest.mark.parametrize("body", [GOOD, {"model": "m", "input": {"prompt": "ein See \u2603", "p1": [1, {"a": None}]}}])
def test_a_small_body_is_kept_as_it_was_sent(body: dict[str, Any]):
    known = KNOWN | {"size"}
    assert json.loads(kept_body(body, known)) == body


def test_a_picture_is_kept_as_its_length():
    assert kept({"prompt": "a lake", "p1": "x" * 50_000}) == {"prompt": "a lake", "p1": "<50000 characters>"}


LONGEST = 10_000
LONG = {"escapes": "\x01", "emoji": "\U0001f3d4", "CJK": "山", "Latin": "a"}


@pytest.mark.parametrize("character", LONG.values(), ids=LONG.keys())
@pytest.mark.parametrize("others", [{}, {"p1": "x" * 15_000, "p2": "\x01" * 10_000, "p3": ["x" * 100] * 150}])
def test_the_longest_prompt_is_kept_whole(character: str, others: dict[str, Any]):
    prompt = character * LONGEST
    assert kept({"prompt": prompt, **others})["prompt"] == prompt
    both = kept({"prompt": "\x02" * LONGEST, "input": {"prompt": prompt, **others}, **others})
    assert both["input"]["prompt"] == prompt
    beside = kept({"prompt": prompt, "input": others, **others})
    assert beside["prompt"] == prompt


@pytest.mark.parametrize("character", ["\U0001f3d4", "山"], ids=["emoji", "CJK"])
def test_the_longest_prompt_is_told_again_by_the_history(character: str, tmp_path: Path):
    body = GOOD | {"prompt": character * LONGEST}
    with inline_service(tmp_path / "data") as service:
        made = service.client.post("/api/v1/model/generateImage", json=body, headers=service.headers)
        assert made.status_code == 200
        (item,) = service.client.get("/api/v1/model/history", headers=service.headers).json()["data"]["items"]
        assert json.loads(item["requestBody"]) == body


@pytest.mark.parametrize("value", ["\u2603" * 1_990, ["x" * 100] * 19, "\0" * 190], ids=["text", "list", "escapes"])
def test_many_values_fit_all_the_same(value: object):
    members = dict.fromkeys(KNOWN, value)
    assert set(kept({**members, "input": members})) == {*KNOWN, "input"}


def test_what_is_no_parameter_is_not_kept(tmp_path: Path):
    many = {f"unknown{number}": "x" * 5_000 for number in range(100)}
    with inline_service(tmp_path / "data") as service:
        made = service.client.post("/api/v1/model/generateImage", json=GOOD | many, headers=service.headers)
        assert made.status_code == 200
        (item,) = service.client.get("/api/v1/model/history", headers=service.headers).json()["data"]["items"]
        assert json.loads(item["requestBody"]) == GOOD
