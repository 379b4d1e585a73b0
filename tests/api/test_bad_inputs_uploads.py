"""What an upload must refuse, and what becomes of what it takes: through a real server."""

import io
import json
import zipfile
from collections.abc import Iterator

import pytest
import requests
from PIL import Image

from tests.api.answers import assert_error
from tests.live_service import LiveService, live_service
from tests.media.pictures import decode, encode, gradient, png_claiming
from tests.media.test_normalize import BOMBS, BROKEN, NOT_PICTURES, TRAILERS, exif

PNG = encode(gradient())
BOUNDARY = "xyz"


def upload(
    service: LiveService, data: bytes = PNG, name: str = "image.png", kind: str = "image/png"
) -> requests.Response:
    files = {"file": (name, data, kind)}
    return requests.post(f"{service.url}/api/v1/model/uploadMedia", files=files, headers=service.headers, timeout=60)


def post_form(
    service: LiveService, body: bytes, kind: str = f"multipart/form-data; boundary={BOUNDARY}"
) -> requests.Response:
    headers = service.headers | {"Content-Type": kind}
    return requests.post(f"{service.url}/api/v1/model/uploadMedia", data=body, headers=headers, timeout=60)


def part(disposition: str, content: bytes = PNG, more: str = "") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n"
    return head.encode("utf-8", "surrogatepass") + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FILE = 'name="file"; filename="a.png"'


def test_an_upload_is_described_as_it_is_stored(service: LiveService) -> None:
    body = upload(service, name="Größe.png").json()
    data = body["data"]
    stored = requests.get(data["download_url"], timeout=30)
    assert body["code"] == 200
    assert (data["type"], data["content_type"], data["size"]) == ("image", "image/png", len(stored.content))
    assert data["filename"] == data["file_name"] == "Größe.png"
    assert decode(stored.content).tobytes() == gradient().tobytes()


BAD_FORMS = {
    "empty": b"",
    "no part": END,
    "no file": part('name="note"', b"x") + END,
    "another name": part('name="picture"; filename="a.png"') + END,
    "file without a name of its own": part('name="file"', b"x") + END,
    "two files": part(FILE) + part(FILE) + END,
    "1,001 parts": part('name="note"', b"x") * 1_001 + END,
    "100,000 part headers": part(FILE, more="X-A: b\r\n" * 100_000) + END,
    "a header of 1 MB": part(FILE, more="X-A: " + "b" * 1_000_000 + "\r\n") + END,
    "a field of 1 MB": part('name="note"', b"x" * 1_000_000) + part(FILE) + END,
    "never ended": part(FILE),
    "other boundary": part(FILE).replace(BOUNDARY.encode(), b"abc") + b"--abc--\r\n",
    "binary noise": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("body", BAD_FORMS.values(), ids=BAD_FORMS.keys())
def test_a_form_without_exactly_one_file_is_refused(service: LiveService, body: bytes) -> None:
    assert_error(post_form(service, body), 400, "invalid_parameter", "file")


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", f"multipart/form-data; boundary={'x' * 8192}", "multipart/form-data; boundary="]
)
def test_a_form_needs_a_boundary_of_moderate_length(service: LiveService, kind: str) -> None:
    answer = post_form(service, part(FILE) + END, kind)
    assert answer.status_code == 400


def test_a_name_that_its_charset_cannot_say_is_refused(service: LiveService) -> None:
    body = part('name="file"; filename="Größe.png"') + END
    answer = post_form(service, body, f"multipart/form-data; boundary={BOUNDARY}; charset=undefined")
    assert_error(answer, 400, "invalid_parameter", "file")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", "image/png", ""])
def test_a_body_that_is_no_form_is_refused_unread(service: LiveService, kind: str) -> None:
    assert_error(post_form(service, b"a=b&" * 100_000, kind), 415, "bad_content_type")


def test_a_preamble_does_no_harm(service: LiveService) -> None:
    answer = post_form(service, b"p" * 5_000_000 + b"\r\n" + part(FILE) + END)
    assert answer.status_code in (200, 400)
    assert upload(service).status_code == 200


def test_a_file_of_51_mb_is_refused(service: LiveService) -> None:
    assert_error(upload(service, bytes(51_000_000)), 413, "too_large")


NAMES = [
    "../../x",
    "C:\\x",
    "a\x00b.png",
    "x" * 4_096,
    ".htaccess",
    "a.png/../../b",
    "a\u202egnp.exe",
    "a.png;b",
    "日本.png",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_text(service: LiveService, name: str) -> None:
    body = part(f'name="file"; filename="{name}"') + END
    data = post_form(service, body).json()["data"]
    assert data["file_name"].isprintable()
    assert not set(data["file_name"]) & set("/\\")
    key = data["url"].partition("/files/")[2].partition("?")[0]
    assert (service.data_dir / "files" / key).is_file()
    assert not set(name) & set(key) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")
    disposition = requests.get(data["url"], timeout=30).headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="')
    assert "filename*=UTF-8''" in disposition


def test_a_name_cannot_add_a_header(service: LiveService) -> None:
    name = "a%0d%0aSet-Cookie: x=1"
    data = post_form(service, part(f'name="file"; filename="{name}"') + END).json()["data"]
    assert "Set-Cookie" not in requests.get(data["url"], timeout=30).headers


@pytest.mark.parametrize("kind", ["empty", "html", "svg", "exe", "zip", "gif"])
def test_what_is_no_picture_is_refused_whatever_it_is_called(service: LiveService, kind: str) -> None:
    assert_error(upload(service, NOT_PICTURES[kind]), 400, "unsupported_media")


def test_the_type_is_that_of_the_pixels_not_that_of_the_header(service: LiveService) -> None:
    data = upload(service, encode(gradient(), "JPEG"), "image.png", "image/png").json()["data"]
    assert data["content_type"] == "image/jpeg"
    assert data["url"].partition("?")[0].endswith(".jpg")
    assert requests.get(data["url"], timeout=30).headers["Content-Type"] == "image/jpeg"


def test_what_hides_behind_the_pixels_is_not_stored(service: LiveService) -> None:
    trailer = TRAILERS["html"]
    stored = requests.get(upload(service, PNG + trailer).json()["url"], timeout=30).content
    assert trailer not in stored
    assert decode(stored).size == (24, 16)


@pytest.mark.parametrize("kind", ["50,000 x 50,000", "animated webp", "compressed text"])
def test_a_bomb_is_refused(service: LiveService, kind: str) -> None:
    assert_error(upload(service, BOMBS[kind]), 400, "image_too_large")


def test_half_a_picture_is_refused(service: LiveService) -> None:
    assert_error(upload(service, BROKEN["truncated jpeg"]), 400, "unsupported_media")


def test_a_refused_upload_leaves_nothing_behind(service: LiveService) -> None:
    stored = service.data_dir / "files" / "uploads"
    upload(service)
    before = sorted(stored.rglob("*"))
    upload(service, png_claiming(50_000, 50_000))
    upload(service, b"no picture")
    assert sorted(stored.rglob("*")) == before


def test_a_picture_is_turned_upright_and_loses_its_metadata(service: LiveService) -> None:
    source = encode(gradient(24, 16), "JPEG", exif=exif(6))
    result = decode(requests.get(upload(service, source).json()["url"], timeout=30).content)
    assert result.size == (16, 24)
    assert not result.getexif()


def test_an_archive_is_not_taken(service: LiveService) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", PNG)
    assert_error(upload(service, file.getvalue(), "a.zip", "application/zip"), 400, "unsupported_media")


def test_an_upload_needs_a_key(service: LiveService) -> None:
    answer = requests.post(f"{service.url}/api/v1/model/uploadMedia", files={"file": PNG}, timeout=30)
    assert_error(answer, 401, "unauthorized")


@pytest.fixture(scope="module")
def small_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    """One where an account may store 2,000 bytes of uploads."""
    limit = {"BILDWERK_LIMIT_UPLOAD_BYTES_PER_ACCOUNT": "2000"}
    with live_service(tmp_path_factory.mktemp("small"), environment=limit) as running:
        yield running


def test_an_account_may_store_so_much_and_no_more(small_service: LiveService) -> None:
    size = upload(small_service).json()["data"]["size"]
    taken = 1
    while (answer := upload(small_service)).status_code == 200:
        taken += 1
    detail = assert_error(answer, 413, "quota_exceeded")
    assert f"{taken * size} of 2000 bytes" in detail["message"]
    assert taken == 2000 // size
    assert len(list((small_service.data_dir / "files").rglob("*.png"))) == taken


def test_a_large_picture_beyond_the_quota_is_not_kept(small_service: LiveService) -> None:
    noise = Image.effect_noise((100, 100), 90).convert("RGB")
    before = sorted((small_service.data_dir / "files").rglob("*"))
    assert_error(upload(small_service, encode(noise)), 413, "quota_exceeded")
    assert sorted((small_service.data_dir / "files").rglob("*")) == before


def test_an_upload_does_not_show_in_the_log(service: LiveService) -> None:
    upload(service, name="very-private-name.png")
    assert "very-private-name" not in service.log
    assert all(json.loads(line) for line in service.log.splitlines() if line.startswith("{"))
