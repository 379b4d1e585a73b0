import pytest
from starlette.datastructures import Headers

from bildwerk.media.filenames import content_disposition, shown_name

NAMES = {
    "image.png": "image.png",
    "../../x": "x",
    "C:\\x": "x",
    "a\x00b.png": "ab.png",
    "x" * 4096: "x" * 200,
    ".htaccess": "htaccess",
    "a.png/../../b": "b",
    "a\u202egnp.exe": "agnp.exe",
    "a\r\nSet-Cookie: x=1": "aSet-Cookie: x=1",
    "": "upload",
    "..": "upload",
    "/": "upload",
    "Größe 1.png": "Größe 1.png",
    "\ud800.png": "png",
}


@pytest.mark.parametrize(("sent", "shown"), NAMES.items())
def test_a_name_is_only_its_visible_last_part(sent: str, shown: str) -> None:
    assert shown_name(sent) == shown


@pytest.mark.parametrize("name", ["a.png", 'a".png', "a;b.png", "Größe 1.png", "a\r\nX: y", "日本.png", "a'b%41"])
def test_a_disposition_is_one_plain_line(name: str) -> None:
    value = content_disposition("attachment", name)
    assert value.isascii()
    assert value.isprintable()
    assert value.startswith('attachment; filename="')
    Headers({"content-disposition": value})


def test_a_disposition_carries_the_whole_name_encoded() -> None:
    assert content_disposition("inline", "Größe 1.png") == (
        "inline; filename=\"Gre1.png\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.png"
    )
