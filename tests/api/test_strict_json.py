import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bildwerk.api.strict_json import MAX_DEPTH, MAX_VALUES, parse_object
from bildwerk.domain.errors import InvalidJson

NOT_ONE_OBJECT = [
    b"",
    b" ",
    b"[]",
    b"null",
    b'"x"',
    b"1",
    b"true",
    b'{"a":1} x',
    b'{"a":1}{"a":1}',
    b"{",
    b'{"a"',
    b"{'a':1}",
]
ODD_BYTES = [
    b'{"a":"\xff"}',
    b'\xef\xbb\xbf{"a":1}',
    b'{"a":"\xed\xa0\x80"}',
    '{"a":1}'.encode("utf-16"),
    b'{"a":1}\x00',
]
DUPLICATES = [b'{"width":64,"width":9e9}', b'{"input":{"a":1,"a":1}}', b'{"a":1,"\\u0061":2}']
NUMBERS = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"9" * 10_000,
    b"-" + b"9" * 26,
    b"0x10",
    b"01",
    b"1.",
]


@pytest.mark.parametrize("body", NOT_ONE_OBJECT + ODD_BYTES + DUPLICATES)
def test_anything_but_one_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_object(body)


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_that_json_does_not_know_or_nobody_needs_are_refused(number: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_object(b'{"width":' + number + b"}")


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_great_depth_is_refused_without_recursion(opening: bytes) -> None:
    with pytest.raises(InvalidJson, match="nested"):
        parse_object(b'{"a":' + opening * (100_000 // len(opening)))


def test_the_deepest_allowed_nesting_is_read() -> None:
    inner = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)
    assert parse_object(b'{"a":' + inner + b"}")["a"] != []
    with pytest.raises(InvalidJson, match="nested"):
        parse_object(b'{"a":[' + inner + b"]}")


def test_too_many_keys_are_refused() -> None:
    body = json.dumps({str(i): 0 for i in range(MAX_VALUES)}).encode()
    with pytest.raises(InvalidJson, match="values"):
        parse_object(body)


def test_text_beyond_a_megabyte_is_refused() -> None:
    with pytest.raises(InvalidJson, match="larger than 1000000"):
        parse_object(b'{"prompt":"' + b"a b " * 260_000 + b'"}')


@pytest.mark.parametrize("prefix", [b"data:image/png;base64,", b"", b"data:image\\/png;base64,"])
@pytest.mark.parametrize("unit", [b"iVBORw0KGgo+/AAA=", b"AA\\/\\/BB++"])
def test_picture_data_does_not_count_as_text(prefix: bytes, unit: bytes) -> None:
    body = b'{"image":"' + prefix + unit * 200_000 + b'"}'
    assert len(parse_object(body)["image"]) > 1_000_000


@pytest.mark.parametrize("text", [b"\\ud800", b"a\\udfffb", b"\\ud83d\\ud83d", b"\\udc00\\ud800"])
def test_unpaired_surrogates_are_refused_wherever_they_stand(text: bytes) -> None:
    for body in (b'{"a":"%s"}', b'{"%s":1}', b'{"a":[{"b":["%s"]}]}'):
        with pytest.raises(InvalidJson, match="surrogate"):
            parse_object(body % text)


def test_paired_surrogates_make_one_character() -> None:
    assert parse_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


def test_brackets_and_commas_inside_strings_do_not_count() -> None:
    text = '[{"\\' * 5_000 + "," * 30_000
    assert parse_object(json.dumps({"prompt": text}).encode()) == {"prompt": text}


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 450_000, b'{"a":"' + b"\\" * 900_001, b'"' * 900_001])
def test_unfinished_strings_cost_linear_time(body: bytes) -> None:
    with pytest.raises(InvalidJson):  # quadratic work would take hours here
        parse_object(body)


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.text(max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=10), SCALARS | st.lists(SCALARS, max_size=3), max_size=5))
def test_ordinary_objects_are_read_as_json_reads_them(value: dict[str, object]) -> None:
    assert parse_object(json.dumps(value).encode()) == value


@given(st.binary(max_size=200))
def test_no_bytes_cause_any_other_error(body: bytes) -> None:
    with contextlib.suppress(InvalidJson):
        parse_object(body)
