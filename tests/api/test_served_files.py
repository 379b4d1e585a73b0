"""Stored pictures as browsers and scripts get them: harmless, immutable, and only by an address of ours."""

import time
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

import pytest
import requests

from tests.api.answers import assert_error
from tests.live_service import LiveService
from tests.media.pictures import encode, gradient


@pytest.fixture(scope="module")
def output(service: LiveService) -> str:
    """The address of a picture that we made."""
    body = {"model": "black-forest-labs/flux-schnell", "prompt": "a lake", "size": "64*64", "enable_sync_mode": True}
    url = f"{service.url}/api/v1/model/generateImage"
    found: str = requests.post(url, json=body, headers=service.headers, timeout=60).json()["data"]["outputs"][0]
    return found


@pytest.fixture(scope="module")
def upload(service: LiveService) -> str:
    """The address of a picture that a customer sent."""
    files = {"file": ("cat.png", encode(gradient()), "image/png")}
    url = f"{service.url}/api/v1/model/uploadMedia"
    found: str = requests.post(url, files=files, headers=service.headers, timeout=60).json()["url"]
    return found


def get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=30)


@pytest.mark.parametrize("which", ["output", "upload"])
def test_a_file_is_harmless_in_a_browser(which: str, request: pytest.FixtureRequest) -> None:
    answer = get(request.getfixturevalue(which))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "Set-Cookie" not in answer.headers
    assert answer.content.startswith(b"\x89PNG")


def test_ours_are_shown_and_theirs_are_saved(output: str, upload: str) -> None:
    assert get(output).headers["Content-Disposition"].startswith("inline;")
    assert get(upload).headers["Content-Disposition"] == "attachment; filename=\"cat.png\"; filename*=UTF-8''cat.png"


def test_a_file_needs_no_key_and_takes_no_cookie(output: str) -> None:
    plain, with_cookie = get(output), get(output, Cookie="session=x", Authorization="Bearer nonsense")
    assert plain.content == with_cookie.content


def test_a_file_never_changes_and_says_so(output: str) -> None:
    first = get(output)
    assert "immutable" in first.headers["Cache-Control"]
    again = get(output, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")


def with_query(url: str, **changes: str | None) -> str:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | changes
    kept = {name: value for name, value in query.items() if value is not None}
    return urlunsplit(parts._replace(query=urlencode(kept)))


def test_an_address_without_our_signature_is_refused(output: str) -> None:
    end = int(parse_qs(urlsplit(output).query)["exp"][0])
    forged = {
        "no signature": with_query(output, sig=None),
        "no end": with_query(output, exp=None),
        "no query": output.partition("?")[0],
        "a longer life": with_query(output, exp=str(end + 1)),
        "ten years": with_query(output, exp=str(end + 315_360_000)),
        "a huge number": with_query(output, exp="9" * 5_000),
        "odd digits": with_query(output, exp="²"),
        "empty signature": with_query(output, sig=""),
        "not ascii": with_query(output, sig="ä"),
    }
    for url in forged.values():
        assert_error(get(url), 403, "bad_signature")


def test_a_signature_is_good_for_its_own_file_only(output: str, upload: str) -> None:
    other = urlsplit(output)._replace(query=urlsplit(upload).query)
    assert_error(get(urlunsplit(other)), 403, "bad_signature")
    assert_error(get(output.replace("/0.png", "/1.png")), 403, "bad_signature")


def test_an_address_past_its_end_is_refused(service: LiveService) -> None:
    from bildwerk.api.file_urls import FileUrls
    from bildwerk.store.secrets import load_secrets

    urls = FileUrls(load_secrets(service.data_dir).url_signing, service.url)
    now = int(time.time() * 1000)
    assert_error(get(urls.url("outputs/a/b/1/0.png", now - 1_000)), 403, "url_expired")
    assert_error(get(urls.url("outputs/a/b/1/0.png", now + 60_000)), 410, "file_gone")


def test_a_deleted_file_is_gone(service: LiveService) -> None:
    files = {"file": ("cat.png", encode(gradient()), "image/png")}
    url = requests.post(
        f"{service.url}/api/v1/model/uploadMedia", files=files, headers=service.headers, timeout=60
    ).json()["url"]
    (service.data_dir / "files" / urlsplit(url).path.removeprefix("/files/")).unlink()
    assert_error(get(url), 410, "file_gone")


def test_an_address_with_many_parameters_is_not_ours(service: LiveService) -> None:
    query = "&".join(f"a{number}=1" for number in range(21))
    assert_error(get(f"{service.url}/files/x.png?{query}"), 403, "bad_signature")


KEYS = [
    "../bildwerk.db",
    "outputs/../../bildwerk.db",
    "/etc/passwd",
    "outputs//x",
    "a\\..\\b",
    "a\x00b",
    "x" * 400,
    ".",
]


@pytest.mark.parametrize("key", KEYS)
def test_no_key_leads_out_of_the_store_even_when_signed(service: LiveService, key: str) -> None:
    from bildwerk.api.file_urls import FileUrls
    from bildwerk.store.secrets import load_secrets

    query = (
        FileUrls(load_secrets(service.data_dir).url_signing, "")
        .url(key, int(time.time() + 60) * 1000)
        .partition("?")[2]
    )
    request = requests.Request("GET", f"{service.url}/files/{quote(key, safe='')}?{query}").prepare()
    request.url = f"{service.url}/files/{quote(key, safe='')}?{query}"
    with requests.Session() as session:
        answer = session.send(request, timeout=30)
    assert answer.status_code in (403, 404, 410)
    assert b"SQLite" not in answer.content


def test_a_link_in_the_store_is_not_followed(service: LiveService) -> None:
    from bildwerk.api.file_urls import FileUrls
    from bildwerk.store.secrets import load_secrets

    (service.data_dir / "files" / "link.png").symlink_to(service.data_dir / "bildwerk.db")
    urls = FileUrls(load_secrets(service.data_dir).url_signing, service.url)
    assert_error(get(urls.url("link.png", int(time.time() + 60) * 1000)), 410, "file_gone")


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("bytes=0-3", 0, 3), ("bytes=8-", 8, None), ("bytes=-4", -4, None), ("bytes=5-99999999", 5, None)],
)
def test_one_range_is_sent(output: str, wanted: str, first: int, last: int | None) -> None:
    whole = get(output).content
    part = get(output, Range=wanted)
    assert part.status_code == 206
    assert part.content == whole[first : None if last is None else last + 1]
    start = first % len(whole)
    assert part.headers["Content-Range"] == f"bytes {start}-{start + len(part.content) - 1}/{len(whole)}"


RANGES = {
    "1,500 ranges": "bytes=" + ",".join(f"{i}-{i}" for i in range(1_500)),
    "overlapping": "bytes=0-9,5-14,0-",
    "beyond the end": "bytes=999999999-",
    "backwards": "bytes=9-5",
    "nothing at the end": "bytes=-0",
    "huge": "bytes=" + "9" * 90 + "-",
}


@pytest.mark.parametrize("wanted", RANGES.values(), ids=RANGES.keys())
def test_other_ranges_are_refused_or_answered_whole(output: str, wanted: str) -> None:
    answer = get(output, Range=wanted)
    assert answer.status_code in (200, 416)
    if answer.status_code == 416:
        assert_error(answer, 416, "range_not_satisfiable")


def test_a_range_of_another_version_is_answered_whole(output: str) -> None:
    assert get(output, Range="bytes=0-3", If_Range='"other"').status_code == 200
